"""The catalogue's data sets of small natural images: CIFAR, SVHN, STL-10. Loads no torch."""

from __future__ import annotations

from weightscape.data.entry import Entry, Packaging

_HUB_FILES = {"train": "train", "test": "test"}
_CIFAR_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
_TORONTO = "https://www.cs.toronto.edu/~kriz/"
_JPEG = (
    "Images inside parquet files may be PNG (lossless, the hub's) or JPEG (small, slightly different pixels); the "
    "fingerprint tells them apart. Lossless packagings have one fingerprint."
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
    files=_HUB_FILES,
    digests={},
    folders=("cifar10", "cifar10/plain_text", "cifar10/data", "."),
    others=(
        Packaging(
            "cifar-binary",
            {"train": tuple(f"{name}.bin" for name in _CIFAR_BATCHES), "test": ("test_batch.bin",)},
            ("cifar10/cifar-10-batches-bin", "cifar-10-batches-bin", "cifar10", "."),
            archive=f"{_TORONTO}cifar-10-binary.tar.gz",
        ),
        Packaging(
            "cifar-python",
            {"train": _CIFAR_BATCHES, "test": ("test_batch",)},
            ("cifar10/cifar-10-batches-py", "cifar-10-batches-py", "cifar10", "."),
            archive=f"{_TORONTO}cifar-10-python.tar.gz",
            md5={"cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a"},
        ),
    ),
    hub="uoft-cs/cifar10",
    licence="none stated; research use is customary",
    citation="A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
    homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
    notes=_JPEG,
)

_FINE = (
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle "
    "caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant "
    "flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man "
    "maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree "
    "plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper "
    "snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train "
    "trout tulip turtle wardrobe whale willow_tree wolf woman worm"
)
_COARSE = (
    "aquatic_mammals fish flowers food_containers fruit_and_vegetables household_electrical_devices "
    "household_furniture insects large_carnivores large_man-made_outdoor_things large_natural_outdoor_scenes "
    "large_omnivores_and_herbivores medium_mammals non-insect_invertebrates people reptiles small_mammals trees "
    "vehicles_1 vehicles_2"
)


def _cifar100(name: str, title: str, classes: str, column: str, notes: str) -> Entry:
    return Entry(
        name=name,
        title=title,
        shape=(3, 32, 32),
        classes=tuple(classes.split()),
        train_size=50_000,
        test_size=10_000,
        mean=(0.5071, 0.4867, 0.4408),
        std=(0.2675, 0.2565, 0.2761),
        reader="parquet",
        files=_HUB_FILES,
        digests={},
        folders=("cifar100", "cifar100/cifar100", "cifar100/data", "."),
        others=(
            Packaging(
                "cifar-binary",
                {"train": ("train.bin",), "test": ("test.bin",)},
                ("cifar100/cifar-100-binary", "cifar-100-binary", "cifar100"),
                archive=f"{_TORONTO}cifar-100-binary.tar.gz",
            ),
            Packaging(
                "cifar-python",
                {"train": ("train",), "test": ("test",)},
                ("cifar100/cifar-100-python", "cifar-100-python", "cifar100"),
                archive=f"{_TORONTO}cifar-100-python.tar.gz",
                md5={"cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85"},
            ),
        ),
        label_columns=(column,),
        hub="uoft-cs/cifar100",
        licence="none stated; research use is customary",
        citation="A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
        homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
        notes=f"{notes} {_JPEG}",
    )


CIFAR100 = _cifar100(
    "cifar100", "CIFAR-100", _FINE, "fine_label", "The 100 fine labels; `cifar100_coarse` has the 20 coarse ones."
)
CIFAR100_COARSE = _cifar100(
    "cifar100_coarse",
    "CIFAR-100 with coarse labels",
    _COARSE,
    "coarse_label",
    "The images of `cifar100`, from the same files, with the labels of the 20 superclasses.",
)

SVHN = Entry(
    name="svhn",
    title="Street View House Numbers (cropped digits)",
    shape=(3, 32, 32),
    classes=tuple("0123456789"),
    train_size=73_257,
    test_size=26_032,
    mean=(0.4377, 0.4438, 0.4728),
    std=(0.1980, 0.2010, 0.1970),
    reader="svhn-mat",
    files={"train": "train_32x32.mat", "test": "test_32x32.mat"},
    digests={},
    folders=("svhn", "SVHN", "."),
    md5={
        "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
        "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
    },
    others=(Packaging("parquet", {"train": ("train",), "test": ("test",)}, ("svhn/cropped_digits", "svhn", ".")),),
    mirrors=("http://ufldl.stanford.edu/housenumbers/",),
    hub="ufldl-stanford/svhn:cropped_digits",
    licence="non-commercial use only",
    citation=(
        "Y. Netzer, T. Wang, A. Coates, A. Bissacco, B. Wu and A. Y. Ng, Reading Digits in Natural Images with "
        "Unsupervised Feature Learning, NIPS workshop on deep learning and unsupervised feature learning, 2011"
    ),
    homepage="http://ufldl.stanford.edu/housenumbers/",
    notes="The files write the digit 0 as label 10; here it is 0. The 531,131 'extra' images are not used.",
)

STL10 = Entry(
    name="stl10",
    title="STL-10",
    shape=(3, 96, 96),
    classes=("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"),
    train_size=5_000,
    test_size=8_000,
    mean=(0.4467, 0.4398, 0.4066),
    std=(0.2603, 0.2566, 0.2713),
    reader="stl10-binary",
    files={
        "train images": "train_X.bin",
        "train labels": "train_y.bin",
        "test images": "test_X.bin",
        "test labels": "test_y.bin",
    },
    digests={},
    folders=("stl10", "stl10/stl10_binary", "stl10_binary", "."),
    archive="http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
    md5={"stl10_binary.tar.gz": "91f7769df0f17e558f3565bffb0c7dfb"},
    licence="none stated; images come from ImageNet, research use is customary",
    citation=(
        "A. Coates, H. Lee and A. Y. Ng, An Analysis of Single-Layer Networks in Unsupervised Feature Learning, "
        "AISTATS 2011"
    ),
    homepage="https://cs.stanford.edu/~acoates/stl10/",
    notes=(
        "The files count labels from 1; here they count from 0. The 100,000 unlabelled images and the ten predefined "
        "folds of 1,000 training images are not used."
    ),
)
