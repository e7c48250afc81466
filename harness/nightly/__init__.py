"""Night after night: suites run, held against an accepted baseline and the nights before, and what moved explained."""
