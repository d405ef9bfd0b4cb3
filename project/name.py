"""The name of the project: ``startproject`` writes it here."""

NAME = "{{ project_name }}"
if NAME.startswith("{"):  # the template itself, which was not rendered
    NAME = "Real time"
