"""Where pictures come from: folders of photos, the CAT dataset, and painted cats."""
