/*
 * Labelled images: data sets, preprocessing, and .npy arrays. Nothing here needs a device.
 */
#ifndef CLARINET_DATA_H
#define CLARINET_DATA_H

#include "common.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Whose resize. Both are bilinear and take a pixel's place from the sizes, not from the corners. */
typedef enum crn_resize {
    /* tf.compat.v1.image.resize_bilinear with align_corners=False: two neighbours along each side
     * whatever the scale. The longer side is rounded to nearest. */
    CRN_RESIZE_TENSORFLOW,
    /* Pillow's, and torchvision's with antialias=True: shrinking takes the weighted mean of all
     * that a pixel covers. The longer side is truncated, as transforms.Resize does. */
    CRN_RESIZE_TORCHVISION
} crn_resize;

/* A random box of the image, resized to image_size x image_size without regard to its shape. */
typedef enum crn_box {
    CRN_BOX_NONE,
    /* tf.image.sample_distorted_bounding_box as inception_preprocessing calls it: uniform aspect,
     * then uniform height among those with an allowed area; at least a tenth of the image. */
    CRN_BOX_INCEPTION,
    /* torchvision.transforms.RandomResizedCrop: uniform area, aspect uniform in its logarithm. */
    CRN_BOX_TORCHVISION
} crn_box;

typedef enum crn_colour {
    CRN_COLOUR_NONE,
    CRN_COLOUR_INCEPTION_FAST, /* distort_color of inception_preprocessing with fast_mode:
                                  brightness by 32/255, saturation 0.5…1.5, in this order */
    CRN_COLOUR_INCEPTION,      /* without: hue by 0.2 and contrast 0.5…1.5 too, in four orders */
    CRN_COLOUR_JITTER          /* torchvision.transforms.ColorJitter with `jitter` */
} crn_colour;

/* When a JPEG is decoded at 1/2, 1/4 or 1/8 of its size, which is fast: where the resize shrinks it
 * at least as far anyway. Pixels differ a little from those of a full decode. */
typedef enum crn_shrink { CRN_SHRINK_NEVER, CRN_SHRINK_TRAINING, CRN_SHRINK_ALWAYS } crn_shrink;

/*
 * How a stored image becomes a network's input: decode to `channels` channels in 0…255, resize so
 * that the short side is resize_side, cut image_size x image_size out of the middle, then
 * (x - mean[c]) * scale[c]. A member that is 0 asks for nothing.
 */
typedef struct crn_preprocessing {
    size_t size;
    int32_t image_size;  /* height and width of the result */
    int32_t resize_side; /* 0: image_size; VGG uses 256 for 224 */
    int32_t channels;    /* 1 or 3 */
    float mean[3];
    float scale[3];
    /* Training reads: a random position rather than the middle; where the resized image is just
     * image_size x image_size, out of it with a border of image_size/8 that is 0 in the result
     * (unless colours are changed). */
    bool random_crop;
    bool random_flip; /* training reads: mirrored left to right half of the time */
    /* Rather than resize_side, which is then 0: this share of each side, out of the middle
     * (random_crop: out of anywhere), is resized to image_size x image_size;
     * inception_preprocessing's 0.875. */
    float central_fraction;
    crn_resize resize;
    /* Pictures are turned as EXIF says that the camera was held. TensorFlow's decoders and
     * torchvision's loader leave them lying; false is as they are. */
    bool exif_orientation;
    crn_shrink shrink;
    /* Training reads: the short side is random in train_side[0]…train_side[1] rather than what it
     * is in evaluation; vgg_preprocessing has 256…512. */
    int32_t train_side[2];
    crn_box box;         /* training reads: instead of all of the above */
    float box_area[2];   /* least and largest, as a share of the image */
    float box_aspect[2]; /* width / height */
    crn_colour colour;   /* training reads; hue and saturation need 3 channels */
    float jitter[4];     /* ColorJitter's brightness, contrast, saturation, hue (at most 0.5) */
} crn_preprocessing;

/*
 * TF-slim's vgg_preprocessing at evaluation: 3 channels less 123.68, 116.78, 103.94, not scaled.
 * From 64 pixels on, resize_side is 8/7 of image_size (256 for 224), below it is 0; so in the last.
 * All presets turn pictures by EXIF and decode JPEGs shrunken in training.
 */
CRN_API crn_preprocessing crn_preprocessing_vgg(int32_t image_size);
/* TF-slim's inception_preprocessing at evaluation: to [-1, 1]; from 64 pixels on of the central
 * 87.5 %, below of all. */
CRN_API crn_preprocessing crn_preprocessing_inception(int32_t image_size, int32_t channels);
/* torchvision's reference for its ImageNet weights: Resize, CenterCrop, Normalize. 3 channels. */
CRN_API crn_preprocessing crn_preprocessing_torchvision(int32_t image_size);

/*
 * Sets the members for training reads to what a library trains with, leaving evaluation as it is:
 *  "none";
 *  "vgg": vgg_preprocessing's random short side (8/7…16/7 of image_size), random crop, flip;
 *  "inception": random box (area 0.05…1, aspect 0.75…1.33), flip, colours in fast_mode, always
 *    resized bilinearly; "inception-full": colours without fast_mode;
 *  "torchvision": RandomResizedCrop (0.08…1, 3/4…4/3) and flip.
 * CRN_INVALID: another name, or NULL.
 */
CRN_API crn_status crn_preprocessing_augment(crn_preprocessing *preprocessing, const char *name,
                                             crn_error *error);

/* Room for the JSON of any preprocessing. */
#define CRN_PREPROCESSING_JSON_SIZE 1024

/* As one line of JSON, for a checkpoint's metadata; and back, every member checked.
 * Members that ask for nothing are left out, so that what they are not needed for can be read by
 * older versions; JSON of older versions can be read. */
CRN_API crn_status crn_preprocessing_to_json(const crn_preprocessing *preprocessing, char *text,
                                             size_t size);
CRN_API crn_status crn_preprocessing_from_json(const char *text, crn_preprocessing *preprocessing,
                                               crn_error *error);

typedef struct crn_dataset crn_dataset;

typedef enum crn_split { CRN_SPLIT_TRAIN, CRN_SPLIT_TEST } crn_split;

/*
 * Opens a folder, or one of the files below, and finds out what it is:
 *  - IDX (MNIST family): {train,t10k}-images-idx3-ubyte and -labels-idx1-ubyte, each perhaps .gz;
 *  - NumPy: images.npy [N,H,W,C] or [N,H,W], uint8 or float32 (0…255), and labels.npy [N], an
 *    integer type; for the test split test_images.npy and test_labels.npy;
 *  - CSV (RFC 4180): a file, or train.csv and perhaps test.csv, val.csv or validation.csv in a
 *    folder. Rows are path,label; a first row may name the columns (path, file, filename, filepath
 *    or image; label or class), and there may then be others. Paths are relative to the file's
 *    folder or absolute, and may lead anywhere. Labels are numbers if all are; else classes are
 *    the sorted labels of training;
 *  - TFRecord: a file, or shards in a folder, of tf.Example with TF-slim's keys image/encoded (any
 *    kind of picture) and image/class/label: NAME_train_00000-of-00005.tfrecord, also without
 *    NAME or suffix, and likewise test, validation or val. Class names are from labels.txt, lines
 *    "0:daisy", in the same folder. All files are scanned once for what stands where; data are
 *    checked against their checksums when they are read;
 *  - a folder a class, each holding .png, .jpg, .jpeg and .webp files: class names are the sorted
 *    folder names. With subfolders train and test (or val) these are the splits.
 * Where there is only one set, both splits are that set, and crn_dataset_has_split(…,
 * CRN_SPLIT_TEST) is false: see crn_dataset_split. Labels mean the same in both splits. Symbolic
 * links inside a folder are followed to regular files only.
 */
CRN_API crn_status crn_dataset_open(const char *path, crn_split split, crn_dataset **out,
                                    crn_error *error);
/*
 * A part of a data set that has no test split: of each class, about `fraction` (0…1, both excluded)
 * of the images are the test split, and the others training's; a class's last image is never taken
 * from training. Which, depends on the seed and on the number of images of each class alone, so
 * that the two parts are disjoint and the same in every run. `dataset` must live longer than
 * *out. CRN_INVALID when a part would be empty.
 */
CRN_API crn_status crn_dataset_split(const crn_dataset *dataset, double fraction, uint64_t seed,
                                     crn_split part, crn_dataset **out, crn_error *error);
CRN_API void crn_dataset_free(crn_dataset *dataset);
CRN_API bool crn_dataset_has_split(const crn_dataset *dataset, crn_split split);
CRN_API size_t crn_dataset_size(const crn_dataset *dataset);
/* Channels of the stored images: 1 or 3 (a folder of pictures is 3). */
CRN_API int32_t crn_dataset_channels(const crn_dataset *dataset);
/* Height and width when all images are known to share them, else 0: a folder of pictures. */
CRN_API void crn_dataset_image_size(const crn_dataset *dataset, int32_t *height, int32_t *width);
CRN_API size_t crn_dataset_class_count(const crn_dataset *dataset);
/* A class's folder name, or its number; Fashion-MNIST's are not in its files. NULL past the end. */
CRN_API const char *crn_dataset_class_name(const crn_dataset *dataset, size_t index);
/* Where an image came from, for messages: a path, or "FILE[17]". */
CRN_API crn_status crn_dataset_item_name(const crn_dataset *dataset, size_t index, char *text,
                                         size_t size);

/*
 * Reads images indices[0…count) into images, float [count, S, S, channels] as `preprocessing` says,
 * and their labels. `augment` 0: as for evaluation; else the seed of what is random, which
 * depends on it and on the image's index alone.
 */
CRN_API crn_status crn_dataset_read(const crn_dataset *dataset, const size_t *indices, size_t count,
                                    const crn_preprocessing *preprocessing, uint64_t augment,
                                    float *images, int32_t *labels, crn_error *error);

/* Decodes and preprocesses one PNG, JPEG or WebP file into [S, S, channels]. */
CRN_API crn_status crn_image_read(const char *path, const crn_preprocessing *preprocessing,
                                  float *image, crn_error *error);

/* A permutation of 0…count-1 that depends on seed and epoch alone. */
CRN_API void crn_shuffle(uint64_t seed, uint64_t epoch, size_t *order, size_t count);

/* ---- mixing the images of a batch ---- */

/* Both are for training with soft labels: see crn_mix_batch. 0 is without. */
typedef struct crn_mix {
    size_t size;
    float mixup_alpha;  /* mixup (Zhang et al. 2018): 0.2 for ImageNet, 1 for CIFAR */
    float cutmix_alpha; /* CutMix (Yun et al. 2019): 1 */
} crn_mix;

#define CRN_MIX_INIT          \
    {                         \
        sizeof(crn_mix), 0, 0 \
    }

/*
 * Mixes each of `count` images [count,height,width,channels], in place, with the one before it (the
 * first with the last), and fills soft_labels [count,classes]: 1 where the label is, or with
 * lambda from Beta(alpha, alpha), drawn once for the batch,
 *   mixup:  image = lambda image + (1-lambda) other,  label likewise;
 *   CutMix: a box of sides height sqrt(1-lambda) and width sqrt(1-lambda) around a random point,
 *           less what is outside the image, is the other's; lambda becomes 1 - box / image.
 * With both alphas above 0 it is one or the other, each for half of the batches. What is drawn
 * depends on the seed alone. CRN_INVALID for a label outside 0…classes-1, or negative alphas.
 */
CRN_API crn_status crn_mix_batch(const crn_mix *mix, uint64_t seed, float *images,
                                 const crn_shape *shape, const int32_t *labels, size_t classes,
                                 float *soft_labels, crn_error *error);

/* ---- .npy ---- */

/* Reads float32, float64, any integer type or bool as float32, row-major, little-endian. *data is
 * the caller's: crn_free. Rank at most CRN_MAX_RANK. */
CRN_API crn_status crn_npy_read(const char *path, float **data, crn_shape *shape, crn_error *error);
/* Writes float32 through a temporary file that replaces `path`. */
CRN_API crn_status crn_npy_write(const char *path, const float *data, const crn_shape *shape,
                                 crn_error *error);

/* Ends memory that the library returned through a plain pointer. */
CRN_API void crn_free(void *data);

#ifdef __cplusplus
}
#endif

#endif
