"""The data sets this package knows: what they hold, where their files come from, their terms. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Reader: TypeAlias = Literal["digits", "idx", "parquet"]


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
        reader: Format of the files.
        files: File name by role. Parquet names are stems: any file whose name starts with one belongs to the role.
        digests: blake2b (16 bytes) of the decompressed official files, by role; empty where packaging differs.
        folders: Folders under the data root that are searched, in this order.
        system_folders: Folders outside the data root that are searched last.
        mirrors: Addresses of folders that hold the files.
        hub: Name on the Hugging Face hub.
        package: Debian package, or Python package, that brings the files.
        licence: Terms of use.
        citation: Whom to cite.
        homepage: Where the data set is described.
        notes: What a user should know before reporting numbers.
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
    system_folders: tuple[str, ...] = ()
    mirrors: tuple[str, ...] = ()
    hub: str = ""
    package: str = ""
    notes: str = ""


_TEN_DIGITS = tuple("0123456789")
_IDX_FILES = {
    "train images": "train-images-idx3-ubyte",
    "train labels": "train-labels-idx1-ubyte",
    "test images": "t10k-images-idx3-ubyte",
    "test labels": "t10k-labels-idx1-ubyte",
}

DIGITS = Entry(
    name="digits",
    title="Optical recognition of handwritten digits",
    shape=(1, 8, 8),
    classes=_TEN_DIGITS,
    train_size=1442,
    test_size=355,
    mean=(0.3052,),
    std=(0.3760,),
    reader="digits",
    files={"all": "digits.csv.gz"},
    digests={},
    folders=(),
    package="scikit-learn",
    licence="CC BY 4.0",
    citation="E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998, doi:10.24432/C50P49",
    homepage="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
    notes=(
        "scikit-learn's copy (the 1797 test images of the original, without an official split): every fifth image of "
        "each class, in file order, is the test set, so writers occur on both sides. Grey levels 0 to 16 are stored as "
        "0 to 255; mean and standard deviation are those of the 1442 training images."
    ),
)

MNIST = Entry(
    name="mnist",
    title="MNIST",
    shape=(1, 28, 28),
    classes=_TEN_DIGITS,
    train_size=60_000,
    test_size=10_000,
    mean=(0.1307,),
    std=(0.3081,),
    reader="idx",
    files=_IDX_FILES,
    digests={
        "train images": "b9299a92fe5d16639f9742380a93f690",
        "train labels": "f96bdc870699084eb0b3589e54f74959",
        "test images": "8a50b22beadcb47d5a6cbbcd2dee2f94",
        "test labels": "1ab236743765b3fbdd132ad86756401d",
    },
    folders=("mnist", "MNIST/raw", "MNIST", "."),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    licence="CC BY-SA 3.0",
    citation="Y. LeCun, C. Cortes and C. J. C. Burges, The MNIST database of handwritten digits, 1998",
    homepage="http://yann.lecun.com/exdb/mnist/",
)

FASHION_MNIST = Entry(
    name="fashion_mnist",
    title="Fashion-MNIST",
    shape=(1, 28, 28),
    classes=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    train_size=60_000,
    test_size=10_000,
    mean=(0.2860,),
    std=(0.3530,),
    reader="idx",
    files=_IDX_FILES,
    digests={
        "train images": "72968d157964e3bf187f8068aa8eb705",
        "train labels": "f3a0ac57953beea61f6c78cc84b772c2",
        "test images": "62fd04365e6092f24fcc8055119e7157",
        "test labels": "0701dbea1ab4a08a9df680bedf1a96d9",
    },
    folders=("fashion_mnist", "fashion-mnist", "FashionMNIST/raw", "FashionMNIST", "."),
    system_folders=("/usr/share/datasets/fashion-mnist",),
    mirrors=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    package="dataset-fashion-mnist",
    licence="MIT",
    citation="H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST, arXiv 1708.07747, 2017",
    homepage="https://github.com/zalandoresearch/fashion-mnist",
)

CIFAR10 = Entry(
    name="cifar10",
    title="CIFAR-10",
    shape=(3, 32, 32),
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    train_size=50_000,
    test_size=10_000,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
    reader="parquet",
    files={"train": "train", "test": "test"},
    digests={},
    folders=("cifar10", "cifar10/plain_text", "cifar10/data", "."),
    hub="uoft-cs/cifar10",
    licence="none stated; research use is customary",
    citation="A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
    homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
    notes=(
        "Images inside the parquet files may be PNG (lossless, the hub's) or JPEG (small, slightly different pixels); "
        "the fingerprint tells them apart."
    ),
)

ENTRIES: dict[str, Entry] = {entry.name: entry for entry in (DIGITS, MNIST, FASHION_MNIST, CIFAR10)}
