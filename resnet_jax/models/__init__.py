"""The nets (`resnet.build`), and their parameters, multiply-adds and memory by formula (`cost`)."""
