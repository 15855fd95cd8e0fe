"""What the catalogue says about a data set, and how its files may be packed. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Reader: TypeAlias = Literal[
    "digits",
    "idx",
    "parquet",
    "cifar-binary",
    "cifar-python",
    "svhn-mat",
    "stl10-binary",
    "celeba-csv",
    "celeba-official",
    "own",
]


@dataclass(frozen=True)
class Packaging:
    """One way in which the files of a data set are packed.

    Attributes:
        reader: Format of the files.
        files: Names of the files by role. Parquet names are stems: any file whose name starts with one belongs to the
            role.
        folders: Folders under the data root that are searched, in this order.
        archive: Address of the tar archive that holds the files.
        md5: Published MD5 of what is fetched (the archive, or the files themselves), by file name.
    """

    reader: Reader
    files: dict[str, tuple[str, ...]]
    folders: tuple[str, ...]
    archive: str = ""
    md5: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """A data set of the catalogue.

    Attributes:
        name: Name in studies and on the command line.
        title: Name in sentences.
        shape: Channels, height and width of an image.
        classes: Names of the classes, in the order of their labels.
        train_size: Images in the official training set.
        test_size: Images in the official test set.
        mean: Mean of each channel, of pixels in [0, 1], that is subtracted.
        std: Standard deviation of each channel by which the difference is divided.
        reader: Format of the files in the packaging that is looked for first.
        files: File name by role in that packaging. Parquet names are stems.
        digests: blake2b (16 bytes) of the decompressed official files, by role; empty where packaging differs.
        folders: Folders under the data root that are searched, in this order.
        archive: Address of the tar archive that holds the files.
        md5: Published MD5 of what is fetched (the archive, or the files themselves), by file name.
        others: Further packagings, in the order in which they are looked for.
        label_columns: Names that the column of labels may have in parquet files.
        system_folders: Folders outside the data root that are searched last.
        mirrors: Addresses of folders that hold the files.
        hub: Name on the Hugging Face hub; a configuration of it may follow after a colon.
        package: Debian package, or Python package, that brings the files.
        licence: Terms of use.
        citation: Whom to cite.
        homepage: Where the data set is described.
        notes: What a user should know before reporting numbers.
        border: Pixels around what a network sees, at the data set's own size, out of which a crop may take its part.
        several: Whether an image has several labels, a yes or a no for each class, and not one class.
    """

    name: str
    title: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    train_size: int
    test_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    reader: Reader
    files: dict[str, str]
    digests: dict[str, str]
    folders: tuple[str, ...]
    licence: str
    citation: str
    homepage: str
    archive: str = ""
    md5: dict[str, str] = field(default_factory=dict)
    others: tuple[Packaging, ...] = ()
    label_columns: tuple[str, ...] = ("label", "labels")
    system_folders: tuple[str, ...] = ()
    mirrors: tuple[str, ...] = ()
    hub: str = ""
    package: str = ""
    notes: str = ""
    border: int = 0
    several: bool = False

    @property
    def is_fetched(self) -> bool:
        """Whether the files can be fetched from an address that is known."""
        return bool(self.mirrors or self.hub or any(packaging.archive for packaging in self.packagings))

    def border_at(self, size: int | None) -> int:
        """Return the pixels around images of a size: the share of the picture that the border is stays the same."""
        return self.border if size is None else round(size * self.border / self.shape[1])

    @property
    def packagings(self) -> tuple[Packaging, ...]:
        """All packagings, in the order in which they are looked for."""
        names: dict[str, tuple[str, ...]] = {role: (name,) for role, name in self.files.items()}
        return (Packaging(self.reader, names, self.folders, self.archive, self.md5), *self.others)
