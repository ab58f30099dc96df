"""Sphinx's settings for the study by itself: ``make study``."""

project = "fastnn: from naive to the roofline"
extensions = ["myst_nb", "sphinx-mathjax-offline"]
root_doc = "index"
exclude_patterns = ["_build", "*.ipynb"]
html_theme = "furo"
html_title = "From naive to the roofline"
html_static_path = ["../_static"]
html_css_files = ["fastnn.css"]
html_show_sourcelink = False
myst_enable_extensions = ["dollarmath"]
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True
