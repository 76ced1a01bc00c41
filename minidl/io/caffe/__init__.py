"""Caffe's files: networks described in .prototxt, and their weights in .caffemodel.

`blobs` reads weights. `text` and `binary` read descriptions into the same `Message`; `description`
tells which layers a network has when it is tested; `layers` makes minidl's of them, and `graph`
runs these. Source: https://github.com/BVLC/caffe/blob/master/src/caffe/proto/caffe.proto
"""

from minidl.io.caffe.blobs import CaffeLayer, read_caffemodel

__all__ = ["CaffeLayer", "read_caffemodel"]
