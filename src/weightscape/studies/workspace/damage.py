"""Damage in the tables of results: found when a study is run, though nothing else of it has to be computed.

Tables are small and about to be read in any case. Weights may be large: those that a task is about to read are checked
before it starts, all others by ``weightscape verify``.
"""

from __future__ import annotations

import logging

from weightscape.studies.plan import Plan
from weightscape.studies.workspace.record import TABLES
from weightscape.studies.workspace.store import Store

_LOG = logging.getLogger(__name__)


def discard_damaged_tables(plan: Plan, store: Store) -> list[str]:
    """Remove the results of a plan whose tables are not what was published, with a warning; return their keys.

    One that another process holds stays for that process to see to.
    """
    discarded = []
    for key in plan.tasks:
        record = store.get(key)
        if record is None or not (damaged := record.damaged(TABLES)):
            continue
        with store.claimed(key) as free:
            if free:
                _LOG.warning("The result %s is damaged (%s); it is computed anew.", record.folder, ", ".join(damaged))
                store.discard(record)
                discarded.append(key)
    return discarded
