"""The engine: model, sparse autoencoder and token loop. It knows nothing of Jupyter."""
