"""A web page that shows predictions for an uploaded picture (extra `demo`)."""
