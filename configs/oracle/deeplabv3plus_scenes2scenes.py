_base_ = "../source_only/deeplabv3plus_scenes2scenes.py"
train_dataloader = dict(
    dataset=dict(_delete_=True, type="TwoDomainDataset", source={{_base_.oracle_dataset}})
)
