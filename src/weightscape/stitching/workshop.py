"""All stitches between two networks: what is computed once for all, and in which order the rest is done."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import nn

from weightscape.devices import device_here
from weightscape.errors import DataError, Interrupted, WeightscapeError
from weightscape.stitching.assessment import Assessor
from weightscape.stitching.features import (
    CachedFeatures,
    ComputedFeatures,
    Pass,
    Site,
    Source,
    bytes_of,
    is_augmented,
    memory_limit,
    plan_passes,
)
from weightscape.stitching.identity import PairIdentity
from weightscape.stitching.jobs import Job, make_job
from weightscape.stitching.learner import StitchLearner
from weightscape.stitching.moments import fit_moments
from weightscape.stitching.outcome import Finished, result_of
from weightscape.stitching.pair import Pair, Wanted
from weightscape.stitching.result import StitchResult
from weightscape.stitching.settings import StitchSpec
from weightscape.stitching.stitch_run import StitchRun

if TYPE_CHECKING:
    from weightscape.data.dataset import Dataset

Ended: TypeAlias = Callable[[int, StitchResult | WeightscapeError, str], None]


class Workshop:
    """Makes the stitches of one pair; :func:`weightscape.stitching.task_loss.train_stitches` explains the arguments.

    Raises:
        DataError: If a split is empty.
    """

    def __init__(
        self,
        front: nn.Module,
        back: nn.Module,
        dataset: Dataset,
        specs: Sequence[StitchSpec],
        *,
        probe: int,
        thresholds: Sequence[float],
        measure_every: int,
        device: str | torch.device,
        memory_limit: int | None,
        resume: Path | None,
        checkpoint_seconds: float,
        should_stop: Callable[[], bool],
        on_progress: Callable[[float, str], None],
    ) -> None:
        for name in ("train", "test"):
            if not len(getattr(dataset, name)):
                raise DataError(f"Expected images to stitch networks with, received an empty {name} split.")
        self._device = torch.empty(0, device=device_here(device)).device
        self._dataset = dataset.to(self._device)
        self._pair = Pair(front, back, example=dataset.train.normalised(slice(2)), device=self._device)
        self._specs = specs
        self._probe, self._thresholds, self._measure_every = probe, tuple(thresholds), measure_every
        self._limit = memory_limit
        self._resume, self._checkpoint_seconds = resume, checkpoint_seconds
        self._identity = None if resume is None else PairIdentity(front, back, dataset, device=self._device)
        self._should_stop, self._on_progress = should_stop, on_progress
        self._several = dataset.train.labels.is_floating_point()
        self._epochs_done, self._epochs_all = 0, max(1, sum(spec.epochs for spec in specs))

    def make_all(self, ended: Ended) -> None:
        """Make all stitches and tell what became of each.

        Raises:
            Interrupted: If the user asked to stop.
        """
        jobs = self._begun(ended)
        if not jobs:
            return
        try:
            self._assessor = Assessor(self._pair, self._dataset, probe=self._probe, should_stop=self._should_stop)
        except Interrupted:
            raise
        except WeightscapeError as error:  # a back network without answers
            for job in jobs:
                ended(job.number, error, "")
            return
        for one in self._passes(jobs):
            members = [job for site in one.sites for job in jobs if job.site == site]
            self._make_pass(one, members, ended)

    def _begun(self, ended: Ended) -> list[Job]:
        """Return the stitches at their beginning; those that cannot be made are told of."""
        jobs: list[Job] = []
        for number, spec in enumerate(self._specs):
            try:
                jobs.append(make_job(number, spec, self._pair))
            except WeightscapeError as error:
                ended(number, error, "")
        self._on_progress(0.0, "fitting")
        sites = dict.fromkeys(job.moments_key for job in jobs if job.fits)
        moments = fit_moments(self._pair, self._dataset.train, list(sites), should_stop=self._should_stop)
        begun: list[Job] = []
        for job in jobs:
            try:
                job.begin(moments.get(job.moments_key) if job.fits else None)
            except WeightscapeError as error:
                ended(job.number, error, "")
            else:
                begun.append(job)
        return begun

    def _passes(self, jobs: Sequence[Job]) -> list[Pass]:
        wanted: dict[Site, Wanted] = {}
        for job in jobs:
            wanted[job.site] = wanted.get(job.site, Wanted()) | job.wanted
        example = self._dataset.train.normalised(slice(2)).to(self._device)
        images = len(self._dataset.train) + len(self._dataset.test)
        needs = {site: images * bytes_of(self._pair.features(example, what)) for site, what in wanted.items()}
        limit = memory_limit(self._device) if self._limit is None else self._limit
        return plan_passes(needs, limit=limit, augmented=is_augmented(self._dataset))

    def _make_pass(self, one: Pass, jobs: Sequence[Job], ended: Ended) -> None:
        train, test = self._dataset.train, self._dataset.test
        everything = Wanted()
        for job in jobs:
            everything |= job.wanted
        at_test = Wanted(front_layers=everything.front_layers, sides=everything.sides)
        if not one.cached:
            groups: dict[tuple[int, int], list[Job]] = {}
            for job in jobs:
                groups.setdefault((job.spec.seed, job.spec.batch_size), []).append(job)
            for group in groups.values():
                wanted = Wanted()
                for job in group:
                    wanted |= job.wanted
                source = ComputedFeatures(self._pair, self._dataset, train, wanted)
                self._make_group(group, source, self._computed_test, "computed", ended)
            return
        self._on_progress(self._share(), "running both networks once")
        kept = CachedFeatures(self._pair, train, everything, should_stop=self._should_stop)
        kept_test = CachedFeatures(self._pair, test, at_test, should_stop=self._should_stop)
        for job in jobs:
            at_hand = kept.only(job.wanted)
            self._make_group([job], at_hand, lambda job: kept_test.only(job.wanted_at_test), "cached", ended)

    def _computed_test(self, job: Job) -> Source:
        return ComputedFeatures(self._pair, self._dataset, self._dataset.test, job.wanted_at_test)

    def _make_group(
        self,
        jobs: Sequence[Job],
        source: Source,
        test: Callable[[Job], Source],
        how: str,
        ended: Ended,
    ) -> None:
        """Train stitches on common batches and tell what became of each.

        Raises:
            Interrupted: If the user asked to stop.
        """
        beginnings = [copy.deepcopy(job.stitch).to(self._device) for job in jobs]
        try:
            run = self._run(jobs, source)
        except Interrupted:
            raise
        except WeightscapeError as error:  # too few images for a batch, checkpoints of others
            for job in jobs:
                ended(job.number, error, "")
            return
        run.train()
        self._epochs_done += sum(job.spec.epochs for job in jobs)
        for position, job in enumerate(jobs):
            failure = run.failure(position)
            if failure is not None:
                ended(job.number, failure, how)
                continue
            done = Finished(
                spec=job.spec,
                site=job.site,
                beginning=beginnings[position],
                stitch=job.stitch,
                epochs=run.epochs(position),
                iterations=run.iterations(position),
                steps=run.steps(position),
                features=how,
            )
            result = result_of(done, self._pair, self._assessor, test(job), thresholds=self._thresholds)
            ended(job.number, result, f"{how} features")

    def _run(self, jobs: Sequence[Job], source: Source) -> StitchRun:
        learners = [
            StitchLearner(
                job.spec,
                job.site,
                job.stitch,
                self._pair.fast_tail(job.site.back_layer),
                mask=job.mask,
                several=self._several,
                device=self._device,
            )
            for job in jobs
        ]
        run = StitchRun(
            learners,
            source,
            images=len(self._dataset.train),
            measure=lambda number: self._assessor.along_training(learners[number].stitch, jobs[number].site),
            measure_every=self._measure_every,
            should_stop=self._should_stop,
            on_epoch=lambda done, total: self._tell(jobs, done, total),
            checkpoint_seconds=self._checkpoint_seconds,
        )
        if self._resume is not None and self._identity is not None:
            name = f"stitches-{jobs[0].number:05d}"
            beginnings = [job.stitch.state_dict() for job in jobs]
            identity = self._identity.of([job.spec for job in jobs], beginnings, measure_every=self._measure_every)
            run.attach(self._resume / name, identity)
        return run

    def _share(self, more: float = 0.0) -> float:
        return min(1.0, (self._epochs_done + more) / self._epochs_all)

    def _tell(self, jobs: Sequence[Job], done: int, total: int) -> None:
        share = self._share(sum(min(done, job.spec.epochs) for job in jobs))
        places = ", ".join(dict.fromkeys(job.site.front_layer for job in jobs))
        self._on_progress(share, f"{places}: epoch {done} of {total}")
