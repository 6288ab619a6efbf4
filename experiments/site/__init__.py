"""Makes the parts of the documentation site that are not pages in docs/. MkDocs calls it (`make docs`).

| module         | what it makes                                                                      |
|----------------|------------------------------------------------------------------------------------|
| `hooks.py`     | the functions that MkDocs calls, named in mkdocs.yml                               |
| `fields.py`    | tables of the fields of dataclasses, from their source                             |
| `reference.py` | the pages on commands, configurations, records and the public Python API           |
| `formulas.py`  | formulas in MathML, which a browser draws without any script                       |
| `linked.py`    | a page for each source file or folder that a document links to                     |
"""
