"""The catalogue's data set of faces with attributes: CelebA. Loads no torch."""

from __future__ import annotations

from weightscape.data.entry import Entry, Packaging

_ATTRIBUTES = (
    "5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair Blond_Hair "
    "Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup High_Cheekbones Male "
    "Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks "
    "Sideburns Smiling Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace "
    "Wearing_Necktie Young"
)
_LEVELS = 255

CELEBA = Entry(
    name="celeba",
    title="CelebA",
    shape=(3, 224, 224),
    classes=tuple(_ATTRIBUTES.split()),
    train_size=162_770,
    test_size=19_962,
    mean=(117 / _LEVELS,) * 3,
    std=(1 / _LEVELS,) * 3,
    reader="celeba-csv",
    files={"train": "train.csv", "test": "test.csv"},
    digests={},
    folders=("celeba", "CelebA"),
    others=(
        Packaging(
            "celeba-official",
            {"attributes": ("list_attr_celeba.txt",), "partition": ("list_eval_partition.txt",)},
            ("celeba", "CelebA"),
        ),
        Packaging(
            "celeba-official",
            {"attributes": ("Anno/list_attr_celeba.txt",), "partition": ("Eval/list_eval_partition.txt",)},
            ("celeba", "CelebA"),
        ),
    ),
    licence="non-commercial research only",
    citation="Z. Liu, P. Luo, X. Wang and X. Tang, Deep Learning Face Attributes in the Wild, ICCV 2015",
    homepage="https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
    notes=(
        "Forty attributes of each image, each a yes or a no: the loss is `binary-cross-entropy`, the accuracy the mean "
        "over attributes, and `classes` chooses attributes. Two packagings: `train.csv` and `test.csv` with the column "
        "`img` (path of an image) and a column of -1 or 1 per attribute, as used by arXiv 2110.14633; or the official "
        "lists beside `img_align_celeba`, of which partition 0 is the training and 2 the test set, and partition 1 is "
        "not used. The number of images is what the lists say. As in arXiv 2110.14633, images are resized to 256 x 256 "
        "and seen as the central 224 x 224 pixels, and 117 is subtracted from levels of 0 to 255; their augmentation "
        "is `[crop, {name: pad, padding: 10, mode: edge}, {name: rotation, degrees: 10}, center-crop]`. With a `size`, "
        "images are decoded at 8/7 of it and the centre is seen. Decoded images are kept on the disk and mapped, 36 GB "
        "for all of them at 224 pixels."
    ),
    border=16,
    several=True,
)
