"""Training. Needs the extra ``train``; searching never imports it."""
