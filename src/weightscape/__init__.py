"""Train populations of neural networks and chart what they learn, transfer and share.

The names below are the library for notebooks and scripts: functions on modules, state dicts and batches. They are
imported when they are first used, so that ``import weightscape`` itself loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weightscape.batches import as_batches as as_batches
    from weightscape.data.loading import load_data as load_data
    from weightscape.landscape.barrier import barrier as barrier
    from weightscape.landscape.diagnosis import diagnose as diagnose
    from weightscape.models.building import build_model as build_model
    from weightscape.models.building import reset_head as reset_head
    from weightscape.models.layers import layer_table as layer_table
    from weightscape.similarity.capture import capture as capture
    from weightscape.similarity.comparison import compare as compare
    from weightscape.similarity.comparison import compare_all as compare_all
    from weightscape.similarity.mistakes import shared_mistakes as shared_mistakes
    from weightscape.similarity.probe import choose_probe as choose_probe
    from weightscape.similarity.representation import represent as represent
    from weightscape.similarity.similarity import similarity_of as similarity_of
    from weightscape.step import Step as Step
    from weightscape.stitching.direct.networks import stitch_directly as stitch_directly
    from weightscape.stitching.line import line_of_stitches as line_of_stitches
    from weightscape.stitching.settings import StitchSpec as StitchSpec
    from weightscape.stitching.task_loss import train_stitch as train_stitch
    from weightscape.stitching.task_loss import train_stitches as train_stitches
    from weightscape.studies.opening import trajectories as trajectories
    from weightscape.studies.query import query as query
    from weightscape.studies.workspace.store import Store as Store
    from weightscape.symmetry.activations import match_activations as match_activations
    from weightscape.symmetry.alignment import match as match
    from weightscape.symmetry.discovery import discover as discover
    from weightscape.symmetry.matching import match_pairs as match_pairs
    from weightscape.symmetry.matching import match_weights as match_weights
    from weightscape.symmetry.permutation import Permutation as Permutation
    from weightscape.training.evaluation import evaluate as evaluate
    from weightscape.training.population import train_population as train_population
    from weightscape.training.recipe import Recipe as Recipe
    from weightscape.training.run import train_model as train_model
    from weightscape.transfer.trajectory import transfer_trajectory as transfer_trajectory
    from weightscape.weights.algebra import Weights as Weights
    from weightscape.weights.algebra import lerp as lerp
    from weightscape.weights.algebra import weights_of as weights_of
    from weightscape.weights.population import Population as Population
    from weightscape.weights.recorder import Recorder as Recorder
    from weightscape.weights.trajectory import Trajectory as Trajectory

__version__ = "0.1.0"

_HOMES = {
    # data and models
    "as_batches": "batches",
    "load_data": "data.loading",
    "build_model": "models.building",
    "reset_head": "models.building",
    "layer_table": "models.layers",
    # weights
    "Step": "step",
    "Population": "weights.population",
    "Recorder": "weights.recorder",
    "Trajectory": "weights.trajectory",
    "Weights": "weights.algebra",
    "lerp": "weights.algebra",
    "weights_of": "weights.algebra",
    # training
    "Recipe": "training.recipe",
    "evaluate": "training.evaluation",
    "train_model": "training.run",
    "train_population": "training.population",
    # symmetry
    "Permutation": "symmetry.permutation",
    "discover": "symmetry.discovery",
    "match": "symmetry.alignment",
    "match_activations": "symmetry.activations",
    "match_pairs": "symmetry.matching",
    "match_weights": "symmetry.matching",
    # landscape
    "barrier": "landscape.barrier",
    "diagnose": "landscape.diagnosis",
    # similarity
    "capture": "similarity.capture",
    "choose_probe": "similarity.probe",
    "compare": "similarity.comparison",
    "compare_all": "similarity.comparison",
    "represent": "similarity.representation",
    "shared_mistakes": "similarity.mistakes",
    "similarity_of": "similarity.similarity",
    # stitching
    "StitchSpec": "stitching.settings",
    "line_of_stitches": "stitching.line",
    "stitch_directly": "stitching.direct.networks",
    "train_stitch": "stitching.task_loss",
    "train_stitches": "stitching.task_loss",
    # transfer
    "transfer_trajectory": "transfer.trajectory",
    # results
    "Store": "studies.workspace.store",
    "query": "studies.query",
    "trajectories": "studies.opening",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'weightscape' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"weightscape.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
