"""Where the command begins: Ctrl-C is heard quietly before anything that takes time is imported."""

from __future__ import annotations

from weightscape.cli.stopping import signals_interrupt


def main() -> None:
    """Run the command line."""
    signals_interrupt()
    from weightscape.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
