"""A web page that shows predictions for an uploaded photograph; needs `demo`."""
