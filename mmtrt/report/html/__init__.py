"""Reports as one HTML file: geometry in Python, markup in templates, no script, no network."""
