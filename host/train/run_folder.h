/*
 * The folder of a training run:
 *   config.json             every option, as the program gave it
 *   labels.txt              "INDEX:CLASS" a line, as TF-slim's write_label_file
 *   metrics.jsonl           a JSON object a line; see clarinet/train.h
 *   events.out.tfevents.*   the same for TensorBoard, a file for each process
 *   restore.txt             what became of each variable of a checkpoint that was begun with
 *   model.safetensors       the last checkpoint
 *   best.safetensors        the one with the best validation
 *   step-000123.safetensors numbered ones
 *   previous.safetensors    the last checkpoint of another run that was here before
 *   .lock                   locked (flock) by the process that trains
 */
#ifndef CRN_TRAIN_RUN_FOLDER_H
#define CRN_TRAIN_RUN_FOLDER_H

#include <jansson.h>

#include "clarinet/common.h"
#include "train/event_file.h"

#define CRN__RUN_LAST "model.safetensors"
#define CRN__RUN_PREVIOUS "previous.safetensors"
#define CRN__RUN_BEST "best.safetensors"

typedef struct crn__run_folder {
    char *path;
    int lock;
    int metrics; /* file descriptor, appending */
    crn__event_file *events;
    double seconds; /* of training by earlier processes, as the logs say */
} crn__run_folder;

/* Makes the folder, with its parents, and locks it. CRN_INVALID when another process has it. */
crn_status crn__run_folder_open(const char *path, crn__run_folder *folder, crn_error *error);
/* Of one whose members are all 0, or that was opened. */
void crn__run_folder_close(crn__run_folder *folder);

/* Begins logging after `step`: what metrics.jsonl has of later steps is cut off; 0 forgets all of
 * an earlier run, event files too. */
crn_status crn__run_folder_begin_logs(crn__run_folder *folder, int64_t step, crn_error *error);
/* Appends a line to metrics.jsonl. Ends the object. */
crn_status crn__run_folder_log(crn__run_folder *folder, json_t *object, crn_error *error);

/* "FOLDER/name", the caller's to free; NULL without memory. */
char *crn__run_folder_file(const crn__run_folder *folder, const char *name);
/* Replaces a text file. */
crn_status crn__run_folder_write(const crn__run_folder *folder, const char *name, const char *text,
                                 crn_error *error);

/* "step-000123.safetensors" */
void crn__run_folder_numbered(int64_t step, char name[48]);
/* Removes all numbered checkpoints but the `keep` of the highest steps. */
crn_status crn__run_folder_prune(const crn__run_folder *folder, int64_t keep, crn_error *error);
/* Renames the last checkpoint, which is another run's, so that it is not taken for this one's. */
crn_status crn__run_folder_set_aside(const crn__run_folder *folder, crn_error *error);
/* Removes the other checkpoints that another run left: numbered ones and the best one. */
crn_status crn__run_folder_forget(const crn__run_folder *folder, crn_error *error);

#endif
