"""The nets (`resnet.build`), and formulas for their parameters, multiply-adds and memory (`cost`)."""
