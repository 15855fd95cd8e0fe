"""The data sets this package knows: what they hold, where their files come from, their terms. Loads no torch."""

from __future__ import annotations

from weightscape.data.entry import Entry
from weightscape.data.faces import CELEBA
from weightscape.data.natural_images import CIFAR10, CIFAR100, CIFAR100_COARSE, STL10, SVHN

__all__ = ["CELEBA", "CIFAR10", "CIFAR100", "ENTRIES", "FASHION_MNIST", "MNIST", "STL10", "SVHN", "Entry"]

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

ENTRIES: dict[str, Entry] = {
    entry.name: entry
    for entry in (DIGITS, MNIST, FASHION_MNIST, CIFAR10, CIFAR100, CIFAR100_COARSE, SVHN, STL10, CELEBA)
}
