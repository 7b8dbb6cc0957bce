# The last searcher looks at the queues before others can see that it stopped searching.
/^bool thrum__search_stop/,/^}/ s/thrum__full_fence();/;/
