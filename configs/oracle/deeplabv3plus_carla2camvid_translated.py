"""DeepLabV3+ (MobileNetV2), CamVid labels with translated CARLA added: does the translated source help where the target is labelled?

python tools/train.py configs/oracle/deeplabv3plus_carla2camvid_translated.py

Twin of deeplabv3plus_carla2camvid.py, which has the target alone; about half of the images are the target's.
The translated set is that of docs/translation.md. Not run here yet.
"""

_base_ = "deeplabv3plus_carla2camvid.py"
train_dataloader = dict(
    dataset=dict(
        source=dict(
            _delete_=True,
            type="ConcatDataset",
            # 3 x 266 images of the target to 850 of the source.
            datasets=[
                {{_base_.oracle_dataset}},
                {{_base_.oracle_dataset}},
                {{_base_.oracle_dataset}},
                dict(
                    type="TranslatedDataset",
                    dataset={{_base_.source_dataset}},
                    translations="data/translated/carla2camvid",
                ),
            ],
        )
    )
)
