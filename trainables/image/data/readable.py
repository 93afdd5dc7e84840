"""Reads all images once: finds those that cannot be read, and fills the pixel cache."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trainables.contract import Progress
from trainables.errors import DataError
from trainables.image.data_config import DataConfig
from trainables.image.example import Defect, Region
from trainables.image.pixels.examples import cache_name, digests_by_row
from trainables.image.pixels.pictures import (
    Facts,
    Picture,
    Target,
    fingerprint_of,
    iter_regions,
    pictures_of,
    read_picture,
    read_pictures,
)
from trainables.image.pixels.pixel_cache import PartialFile, PixelCache
from trainables.image.pixels.scan import Scan
from trainables.image.pixels.values import UPPER_BITS
from trainables.image.settings.pixel_rule import SIXTEEN_BITS, PixelRule, common_range
from trainables.quantities import size_text

_FEW = 0.1  # when fewer pictures than this fraction are new, they are looked at before it is known what to build


@dataclass(frozen=True)
class Reading:
    """What reading all pictures showed.

    Attributes:
        good_rows: the rows that can be used, ascending.
        pixels_fingerprint: of those rows, in order.
        defects: one entry per row that cannot be used.
        sizes: of the pictures: `count`, and `width` and `height` as smallest, median, largest.
        places: where the pixels of each target are.
        warnings: about the cache.
        notes: what was left out of pictures, and how their values are scaled.
        rule: how they were read.
        digests: of the encoded image of each good row.
        pictures: that the rows are made of.
        facts: of each of them.
    """

    good_rows: npt.NDArray[np.int64]
    pixels_fingerprint: str
    defects: tuple[Defect, ...]
    sizes: Mapping[str, Any]
    places: Mapping[Target, str]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    rule: PixelRule
    digests: tuple[str, ...]
    pictures: Sequence[Picture]
    facts: Sequence[Facts]


def read_all(
    table: pa.Table,
    data: DataConfig,
    targets: Sequence[Target],
    num_threads: int,
    progress: Progress,
    with_hashes: bool = False,
) -> Reading:
    """Reads every picture that is not known from an earlier run, and builds what the cache lacks.

    Args:
        table: rows as in `SCHEMA`.
        data: limits, and where the cache is.
        targets: to build.
        num_threads: to decode with.
        progress: told of pictures read.
        with_hashes: of those that are read.

    Raises:
        DataError: `data.cache_dir` was given and cannot be used.
    """
    pass_ = _Pass(table, data, targets, num_threads, progress, with_hashes)
    try:
        cache = PixelCache(data.cache_folder, int(data.cache_limit_bytes))
        scan = Scan(data.cache_folder, f"{data.dataset} {data.root} {data.max_pixels}{data.pixel_rule.digest}")
    except OSError as error:
        if data.cache_dir is not None:
            raise DataError(f"data.cache_dir: {data.cache_dir} cannot be used: {error.strerror or error}") from error
        warning = f"no cache in {data.cache_folder} ({error.strerror or error}): images are decoded again each epoch"
        facts = pass_.read(pass_.pictures, {})
        pass_.find_range(facts)
        return pass_.reading(facts, {}, [warning])
    with scan.opened(pass_.waiting):
        return pass_.run(cache, scan)


class _Pass:
    def __init__(
        self,
        table: pa.Table,
        data: DataConfig,
        targets: Sequence[Target],
        num_threads: int,
        progress: Progress,
        with_hashes: bool,
    ) -> None:
        self.table = table
        self.data = data
        self.targets = targets
        self.num_threads = num_threads
        self.progress = progress
        self.with_hashes = with_hashes
        self.pictures = pictures_of(table)
        self.rule = data.pixel_rule
        self.regions: list[Region] = list(iter_regions(table))

    def waiting(self) -> None:
        self.progress("waiting for another process that reads the same images", 0, len(self.pictures))

    def run(self, cache: PixelCache, scan: Scan) -> Reading:
        known = [scan.facts(picture) for picture in self.pictures]
        new = [position for position, facts in enumerate(known) if facts is None]
        facts: list[Facts] | None = None
        if len(new) <= _FEW * len(self.pictures) or not self.targets or self.is_deep(self.pictures[new[0]]):
            found = dict(zip(new, self.read([self.pictures[position] for position in new], {}), strict=True))
            facts = [each or found[position] for position, each in enumerate(known)]
            self.find_range(facts)
        cached = self.data.cache_limit_bytes > 0
        lacking = self.targets if facts is None or not cached else self.lacking(cache, facts)
        places = {target: "in the cache" for target in self.targets if target not in lacking}
        warnings: list[str] = []
        if lacking:
            with self.reserved(cache, lacking) as partial:
                if partial or facts is None:
                    seen, facts = facts is not None, self.read(self.pictures, partial)
                    if not seen and self.find_range(facts):
                        facts = self.read(self.pictures, partial)
                self.publish(cache, partial, facts)
                for target in lacking:
                    fits = target in partial and partial[target].error is None
                    places[target] = "in the cache" if fits else "decoded again each epoch"
                    if cached and not fits:
                        warnings.append(self.no_room(target))
        warnings += cache.damaged
        assert facts is not None
        # A full disk costs the next run some time, and this one nothing.
        with contextlib.suppress(OSError):
            scan.remember(self.pictures, facts)
        return self.reading(facts, places, warnings)

    def read(self, pictures: Sequence[Picture], partial: Mapping[Target, PartialFile]) -> list[Facts]:
        return read_pictures(
            pictures,
            partial,
            rule=self.rule,
            num_threads=self.num_threads,
            progress=self.progress,
            with_hashes=self.with_hashes,
        )

    def is_deep(self, picture: Picture) -> bool:
        """Whether it has more than 8 bits and does not say its range: then all must be seen before any is scaled."""
        return self.data.value_range == "auto" and read_picture(picture, {}, self.rule).limits is not None

    def find_range(self, facts: list[Facts]) -> bool:
        """Finds the range of pictures that do not say theirs; tells whether they were read by another one.

        Pictures whose bits are then too few to be read get their defects.
        """
        found = common_range(each.limits for each in facts if each.limits is not None)
        if self.data.value_range != "auto" or found == SIXTEEN_BITS or found == self.rule.found:
            return False
        self.rule = replace(self.rule, found=found)
        for place, each in enumerate(facts):
            if each.remark == UPPER_BITS:
                facts[place] = read_picture(self.pictures[place], {}, self.rule)
        return True

    def notes(self, facts: Sequence[Facts]) -> Iterator[str]:
        """What was left out of pictures, and how their values are scaled."""
        remarks = Counter(each.remark for each in facts if each.remark)
        for remark, count in sorted(remarks.items()):
            example = next(one.name for one, each in zip(self.pictures, facts, strict=True) if each.remark == remark)
            yield f"{remark}: {count} images, such as {example}"
        if self.rule.found is not None:
            low, high = self.rule.found
            number = sum(each.limits is not None for each in facts)
            yield (
                f"{number} images have more than 8 bits and do not say their range: {low:g} is black and {high:g} "
                "white, found from all of them (data.value_range sets another)"
            )

    def good_rows(self, facts: Sequence[Facts]) -> npt.NDArray[np.int64]:
        bad = {row for each in facts for row in each.defects}
        return np.array([row for row in range(len(self.table)) if row not in bad], dtype=np.int64)

    def fingerprint(self, facts: Sequence[Facts]) -> str:
        digests = digests_by_row(len(self.table), self.pictures, facts)
        rows = self.good_rows(facts)
        return fingerprint_of([digests[row] for row in rows], [self.regions[row] for row in rows], self.rule)

    def lacking(self, cache: PixelCache, facts: Sequence[Facts]) -> list[Target]:
        name, num_rows = self.fingerprint(facts), len(self.good_rows(facts))
        lacking = []
        for target in self.targets:
            file = cache.find(cache_name(name, target), (num_rows, *target.shape))
            if file is None:
                lacking.append(target)
            else:
                file.close()
        return lacking

    @contextlib.contextmanager
    def reserved(self, cache: PixelCache, targets: Sequence[Target]) -> Iterator[dict[Target, PartialFile]]:
        partial: dict[Target, PartialFile] = {}
        try:
            for target in targets:
                file = cache.reserve((len(self.table), *target.shape))
                if file is not None:
                    partial[target] = file
            yield partial
        finally:
            for file in partial.values():
                file.discard()

    def publish(self, cache: PixelCache, partial: Mapping[Target, PartialFile], facts: Sequence[Facts]) -> None:
        rows, name = self.good_rows(facts), self.fingerprint(facts)
        for target, file in partial.items():
            if file.error is None and len(rows):
                if len(rows) < len(self.table):
                    file.keep(rows)
                file.publish(cache.path(cache_name(name, target)))

    def no_room(self, target: Target) -> str:
        size = len(self.table) * math.prod(target.shape)
        return (
            f"pixels of {target} ({size_text(size)}) have no room in "
            f"{self.data.cache_folder} (data.cache_limit_bytes: {size_text(self.data.cache_limit_bytes)}, or disk): "
            "images are decoded again each epoch"
        )

    def reading(self, facts: Sequence[Facts], places: Mapping[Target, str], warnings: Sequence[str]) -> Reading:
        names, good_rows = self.table["example"], self.good_rows(facts)
        digests = digests_by_row(len(self.table), self.pictures, facts)
        defects = [Defect(names[row].as_py(), reason) for each in facts for row, reason in sorted(each.defects.items())]
        return Reading(
            good_rows,
            self.fingerprint(facts),
            tuple(defects),
            sizes_of(facts),
            places,
            tuple(warnings),
            tuple(self.notes(facts)),
            self.rule,
            tuple(digests[row] for row in good_rows.tolist()),
            self.pictures,
            facts,
        )


def sizes_of(facts: Sequence[Facts]) -> dict[str, Any]:
    """How large the pictures are: their number, and smallest, median and largest width and height."""
    read = [each for each in facts if each.digest]
    if not read:
        return {}
    quantiles = {
        side: [int(value) for value in np.quantile([getattr(each, side) for each in read], [0, 0.5, 1])]
        for side in ("width", "height")
    }
    return {"count": len(read), **quantiles}
