"""The engine: specification, plan, store, execution, tables."""
