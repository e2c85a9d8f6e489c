"""How the models that come with bicross were made, as scripts."""
