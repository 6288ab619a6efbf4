"""Reading and writing nets: PyTorch state dicts, and this project's format of safetensors and config.json.

| module             | content                                                                                 |
|--------------------|-----------------------------------------------------------------------------------------|
| `files.py`         | reads a net from a file, folder or run directory, and writes it to a folder             |
| `export.py`        | writes a net as a PyTorch state dict with another project's names                       |
| `bundle.py`        | `Weights`: a net's configuration, arrays, preprocessing and class names                 |
| `classes.py`       | class names of published nets, and the class that belongs to a folder of images         |
| `arrays.py`        | the names and shapes of a net's arrays, and a comparison with the arrays of a file      |
| `content.py`       | reads arrays from the bytes of a file                                                   |
| `pickled.py`       | reads .pt, .pth and .th files without PyTorch and without running code in them          |
| `nested.py`        | finds the state dict in a training checkpoint                                           |
| `formats/`         | names of PyTorch state dicts, one module for each project                               |
| `hub.py`           | checks the JSON files that timm and transformers store with the weights                 |
| `preprocessing.py` | turns an image file into the input of a net                                             |
| `classifier.py`    | class probabilities of image files, and the output of any block                         |
"""
