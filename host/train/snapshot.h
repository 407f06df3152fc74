/* All that a training step changes on the device, kept on the host, to undo a step. */
#ifndef CRN_TRAIN_SNAPSHOT_H
#define CRN_TRAIN_SNAPSHOT_H

#include "clarinet/optim.h"

typedef struct crn__snapshot crn__snapshot;

/* Takes the present variables and optimizer slots of the graph. */
crn_status crn__snapshot_create(crn_graph *graph, crn_train_op *op, crn__snapshot **out);
void crn__snapshot_free(crn__snapshot *snapshot);

/*
 * After a step: takes what it made, if all of that is finite. Else the device gets the values of
 * before, *name is the first variable that was not finite, and the snapshot stays. *name is NULL
 * where all is well.
 */
crn_status crn__snapshot_take(crn__snapshot *snapshot, const char **name);
/* Gives the device the values of the snapshot. */
crn_status crn__snapshot_undo(crn__snapshot *snapshot);

#endif
