"""Small files, and names, that the code in pages of docs takes for granted."""

import zipfile

import numpy as np
from pictures import class_folders, picture, save
from PIL import Image

import minidl as md
from minidl import data, models, nn, optim, train
from minidl.apps.caption import Captioner
from minidl.apps.caption.vocabulary import Vocabulary

__all__ = ["PREPARED"]


def pets(folder, shared_data):
    class_folders(folder / "pets", {"cats": 10, "dogs": 10}, size=(40, 50))
    return {}


def mobilenet(folder):
    """Weights for images of 32 pixels, where the page has published ones."""
    network = models.create("mobilenet_v1", width=0.25)
    network.image_format = models.ImageFormat(32, "RGB", 127.5, (1.0,) * 3, (1.0,) * 3)
    md.save_weights(network, folder / "mobilenet_2_5_224_tf.h5")


def quick_start(folder, shared_data):
    mobilenet(folder)
    save(folder / "photo.jpg", picture(40, 50))
    with data.HDF5Writer(folder / "pets.h5", shape=(40, 40, 3), classes=["cat", "dog"]) as writer:
        for i in range(20):
            writer.add(picture(40, 40, seed=i)[None], [i % 2])
    return {}


def captions(folder, shared_data):
    body = models.create("mobilenet_v1", width=0.25)
    body.image_format = models.ImageFormat(32, "RGB", 127.5, (1.0,) * 3, (1.0,) * 3)
    captioner = Captioner(body, Vocabulary.of([["a", "dog", "runs"]] * 9), embedding=4, hidden=6)
    (folder / "runs" / "said").mkdir(parents=True)
    md.save_weights(captioner, folder / "runs" / "said" / "captioner.h5")
    save(folder / "dog.jpg", picture(40, 50))
    return {}


def faces(folder, shared_data):
    for name, kept in (("mtcnn", "mtcnn_caffe"), ("faceapi", "faceapi")):
        (folder / name).symlink_to(shared_data / kept)
    with Image.open(shared_data / "mtcnn_caffe" / "test1.jpg") as photograph:
        photograph.save(folder / "group.jpg")
    return {}


def files(folder, shared_data):
    model = nn.Sequential(nn.Linear(3, 2))
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    x = np.ones((4, 3), np.float32)
    return {
        "train": train, "model": model, "optimizer": optimizer,
        "scheduler": optim.lr_scheduler.StepLR(optimizer, step_size=5),
        "loader": data.DataLoader(data.ArrayDataset(x, np.arange(4) % 2), 2),
    }  # fmt: skip


def go(folder, shared_data):
    with zipfile.ZipFile(folder / "games.zip", "w") as file:
        file.writestr("a.sgf", "(;SZ[19];B[pd];W[dp];B[])")
    (folder / "runs" / "go").mkdir(parents=True)
    network = models.create("alphago_policy", width=8, layers=2)
    md.save_weights(network, folder / "runs" / "go" / "policy.h5")
    return {}


def landmarks(folder, shared_data):
    mobilenet(folder)
    points = np.random.default_rng(0).uniform(10, 40, (4, 68, 2))
    for part in ("train", "test"):
        for i in range(4):
            save(folder / "faces" / part / f"{i}.png", picture(50, 50, seed=i))
        np.save(folder / "faces" / f"{part}_keypoints.npy", points)
    save(folder / "face.jpg", picture(50, 50))
    return {}


def networks(folder, shared_data):
    mobilenet(folder)
    image = picture(64, 64).astype(np.float32)[None] / 255
    return {
        "md": md, "np": np, "images": image, "image": image[0],
        "photograph": Image.fromarray(picture(64, 64)),
    }  # fmt: skip


def exchange(folder, shared_data):
    net = models.create("plain_cnn", m=3, n=1, k=0, num_classes=4).eval()
    md.export_onnx(net, folder / "net.onnx", (32, 32, 3))
    kept = shared_data / "caffe_lenet_mnist"
    (folder / "lenet.caffemodel").symlink_to(kept / "lenet_iter_10000.caffemodel")
    (folder / "lenet.prototxt").symlink_to(kept / "lenet.prototxt")
    return {}


PREPARED = {
    "captions.md": captions, "data.md": pets, "faces.md": faces, "files.md": files, "go.md": go,
    "index.md": quick_start, "landmarks.md": landmarks, "models.md": networks,
    "onnx.md": exchange, "transfer.md": pets,
}  # fmt: skip
