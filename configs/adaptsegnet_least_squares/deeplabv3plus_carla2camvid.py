"""DeepLabV3+ (MobileNetV2), CARLA to CamVid, AdaptSegNet with least squares instead of cross entropy in the adversarial losses.

python tools/train.py configs/adaptsegnet_least_squares/deeplabv3plus_carla2camvid.py --work-dir work_dirs/adaptsegnet_least_squares

Not run here yet.
"""

_base_ = "../adaptsegnet/deeplabv3plus_carla2camvid.py"
model = dict(terms=dict(adversarial=dict(kind="least_squares", weight=0.01)))
