"""Nets from and to files: PyTorch's state dicts, and this project's portable format, safetensors plus config.json.

| module             | what                                                                                    |
|--------------------|-----------------------------------------------------------------------------------------|
| `files.py`         | a net from a file, folder or run directory, and into one                                |
| `net.py`           | a net as it lies in a file: what it is, its arrays, how it takes pictures, its classes  |
| `pickled.py`       | .pt, .pth and .th files read without PyTorch, and without running what is in them       |
| `names.py`         | torchvision's and akamaster's names of every array                                      |
| `recognise.py`     | which net a state dict is of, and what it lacks                                         |
| `preprocessing.py` | from an image file to what a net was trained on                                         |
| `inference.py`     | probabilities, and features at any block                                                |
"""
