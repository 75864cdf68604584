"""What carries a trained segmentor elsewhere: a config of stock parts, ONNX, safetensors, a model card."""
