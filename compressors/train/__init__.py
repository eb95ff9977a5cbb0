"""One training loop for every step that learns: float training, quantization-aware training, distillation."""
