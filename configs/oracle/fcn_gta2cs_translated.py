"""FCN (ResNet-50), Cityscapes labels with translated GTA5 added: does the translated source help where the target is labelled?

python tools/train.py configs/oracle/fcn_gta2cs_translated.py

Twin of fcn_gta2cs.py, which has the target alone; about half of the images are the target's. Not run here yet.
"""

_base_ = "fcn_gta2cs.py"
train_dataloader = dict(
    dataset=dict(
        source=dict(
            _delete_=True,
            type="ConcatDataset",
            # 8 x 2,975 images of the target to 24,966 of the source.
            datasets=[
                {{_base_.oracle_dataset}},
                {{_base_.oracle_dataset}},
                {{_base_.oracle_dataset}},
                {{_base_.oracle_dataset}},
                {{_base_.oracle_dataset}},
                {{_base_.oracle_dataset}},
                {{_base_.oracle_dataset}},
                {{_base_.oracle_dataset}},
                dict(
                    type="TranslatedDataset",
                    dataset={{_base_.source_dataset}},
                    translations="data/translated/gta2cs",
                ),
            ],
        )
    )
)
