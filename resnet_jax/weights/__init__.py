"""Nets from and to files: PyTorch's state dicts, and this project's portable format, safetensors plus config.json.

| module             | what                                                                                    |
|--------------------|-----------------------------------------------------------------------------------------|
| `files.py`         | a net from a file, folder or run directory, and into one                                |
| `export.py`        | a net as another project's state dict                                                   |
| `bundle.py`        | a net as it lies in a file: what it is, its arrays, how it takes pictures, its classes  |
| `classes.py`       | names of classes, and which of them a folder stands for                                 |
| `arrays.py`        | names and shapes of a net's arrays, and how those of a file differ                      |
| `content.py`       | from the bytes of a file to arrays                                                      |
| `pickled.py`       | .pt, .pth and .th files read without PyTorch, and without running what is in them       |
| `nested.py`        | which of the dictionaries in a training checkpoint is the state dict                    |
| `formats/`         | PyTorch's state dicts, a module for each project: its names, and the net that they tell |
| `hub.py`           | the fields of timm's and transformers' files beside the weights, checked                |
| `preprocessing.py` | from an image file to what a net was trained on                                         |
| `classifier.py`    | probabilities, and features at any block                                                |
"""
