"""Reading and writing nets: PyTorch state dicts, and this project's format of safetensors and config.json.

| module             | what                                                                                    |
|--------------------|-----------------------------------------------------------------------------------------|
| `files.py`         | a net from a file, folder or run directory, and into one                                |
| `export.py`        | a net as another project's state dict                                                   |
| `bundle.py`        | a net of a file: its configuration, arrays, preprocessing and classes                   |
| `classes.py`       | names of classes, and the class of a folder                                             |
| `arrays.py`        | names and shapes of a net's arrays, compared with those of a file                       |
| `content.py`       | arrays from the bytes of a file                                                         |
| `pickled.py`       | .pt, .pth and .th files, read without PyTorch and without running code in them          |
| `nested.py`        | which of the dictionaries in a training checkpoint is the state dict                    |
| `formats/`         | PyTorch state dicts, one module for each project: its names, and the net they belong to |
| `hub.py`           | checked fields of the files that timm and transformers store with the weights           |
| `preprocessing.py` | from an image file to the input of a net                                                |
| `classifier.py`    | probabilities, and features at any block                                                |
"""
