"""`lander serve`: a page and an HTTP API that translate with one or several models, in all directions at once.

models.py   which directions a model offers, and what its routing does in each
desk.py     the queue of requests, and the thread that translates them in batches
server.py   HTTP: the LibreTranslate API, the page, and what is refused
page.*      the page
"""
