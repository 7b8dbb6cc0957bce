# [I2]: the last searcher that finds work calls nobody else.
/^bool thrum__search_stop/,/^}/ s/before != 1/true/
