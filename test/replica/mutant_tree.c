/* SPDX-License-Identifier: MIT */
#include "mutants.h"

#include "replica/tree.c"
#include "replica/tree_leaf.c"
#include "replica/tree_list.c"

enum tree_mutant replica_tree_mutant;
