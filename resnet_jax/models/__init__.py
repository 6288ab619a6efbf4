"""The nets (`resnet.build`) and what can be said of them without running them (`cost`)."""
