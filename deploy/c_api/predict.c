/* Scores images with a SavedModel, by TensorFlow's C API and nothing else.
 *
 *     predict saved_models/digits/1 IMAGE...
 *
 * All images go to the signature serving_default in one batch. Prints a line of JSON
 * per image: its path, `valid`, and the scores and probabilities in the order of
 * assets/labels.txt. Where the signature's tensors are in the graph stands in the
 * MetaGraphDef, a protocol buffer, of which the few fields are read here that say it.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"

static void fail(const char *what, const char *received) {
  fprintf(stderr, "error: %s Received: %s\n", what, received);
  exit(1);
}

static void check(const TF_Status *status) {
  if (TF_GetCode(status) != TF_OK)
    fail("The SavedModel cannot be run. Expected a version folder.", TF_Message(status));
}

/* -- protocol buffers -------------------------------------------------------------- */

typedef struct {
  const uint8_t *at, *end;
} Bytes;

static uint64_t read_varint(Bytes *bytes) {
  uint64_t value = 0;
  for (int shift = 0; bytes->at < bytes->end && shift < 64; shift += 7) {
    uint8_t byte = *bytes->at++;
    value |= (uint64_t)(byte & 0x7f) << shift;
    if (!(byte & 0x80)) return value;
  }
  fail("The MetaGraphDef is broken.", "an unfinished number");
  return 0;
}

/* Takes the next field off a message; returns its number, 0 at the end. `content` is
 * empty where the field is a number. */
static int next_field(Bytes *message, Bytes *content) {
  if (message->at >= message->end) return 0;
  uint64_t tag = read_varint(message), size = 0;
  switch (tag & 7) {
    case 0: read_varint(message); break;
    case 1: size = 8; break;
    case 2: size = read_varint(message); break;
    case 5: size = 4; break;
    default: fail("The MetaGraphDef is broken.", "a field of unknown type");
  }
  if (size > (uint64_t)(message->end - message->at))
    fail("The MetaGraphDef is broken.", "a field beyond its end");
  content->at = message->at;
  content->end = message->at += size;
  return (int)(tag >> 3);
}

static int find_field(Bytes message, int number, Bytes *content) {
  int found;
  while ((found = next_field(&message, content)))
    if (found == number) return 1;
  return 0;
}

/* The value of `key` in the map that is a message's field `number`. */
static Bytes find_entry(Bytes message, int number, const char *key) {
  Bytes entry, name, value;
  int found;
  while ((found = next_field(&message, &entry)))
    if (found == number && find_field(entry, 1, &name) &&
        (size_t)(name.end - name.at) == strlen(key) &&
        !memcmp(name.at, key, strlen(key)) && find_field(entry, 2, &value))
      return value;
  fail("The SavedModel lacks a signature or one of its tensors.", key);
  return message;
}

/* -- the signature ----------------------------------------------------------------- */

enum { SIGNATURE_DEF = 5, INPUTS = 1, OUTPUTS = 2, NAME = 1 };

/* Finds the tensor of an input or output; its name in the graph is "operation:index". */
static TF_Output find_tensor(TF_Graph *graph, Bytes signature, int field,
                             const char *key) {
  Bytes name;
  char operation[512];
  if (!find_field(find_entry(signature, field, key), NAME, &name))
    fail("The SavedModel lacks the name of a tensor.", key);
  size_t length = (size_t)(name.end - name.at);
  if (length >= sizeof operation) fail("The name of a tensor is too long.", key);
  memcpy(operation, name.at, length);
  operation[length] = '\0';
  char *colon = strrchr(operation, ':');
  int index = colon ? atoi(colon + 1) : 0;
  if (colon) *colon = '\0';
  TF_Output output = {TF_GraphOperationByName(graph, operation), index};
  if (!output.oper) fail("The graph lacks an operation.", operation);
  return output;
}

/* -- images ------------------------------------------------------------------------ */

static void read_file(const char *path, TF_TString *content) {
  FILE *file = fopen(path, "rb");
  if (!file) fail("The image cannot be opened.", path);
  size_t size = 0, room = 1 << 16;
  char *bytes = malloc(room);
  for (size_t read; bytes && (read = fread(bytes + size, 1, room - size, file));) {
    size += read;
    if (size == room) bytes = realloc(bytes, room *= 2);
  }
  if (!bytes || ferror(file)) fail("The image cannot be read.", path);
  fclose(file);
  TF_StringInit(content);
  TF_StringCopy(content, bytes, size);
  free(bytes);
}

static void free_strings(void *data, size_t size, void *unused) {
  (void)unused;
  TF_TString *strings = data;
  for (size_t i = 0; i < size / sizeof *strings; i++) TF_StringDealloc(strings + i);
  free(strings);
}

static TF_Tensor *read_images(char **paths, int count) {
  TF_TString *strings = calloc((size_t)count, sizeof *strings);
  if (!strings) fail("There is not enough memory.", paths[0]);
  for (int i = 0; i < count; i++) read_file(paths[i], strings + i);
  int64_t shape[] = {count};
  size_t size = (size_t)count * sizeof *strings;
  return TF_NewTensor(TF_STRING, shape, 1, strings, size, free_strings, NULL);
}

/* -- output ------------------------------------------------------------------------ */

static void print_string(const char *text) {
  putchar('"');
  for (; *text; text++) {
    if (*text == '"' || *text == '\\') putchar('\\');
    if ((unsigned char)*text < ' ')
      printf("\\u%04x", *text);
    else
      putchar(*text);
  }
  putchar('"');
}

static void print_row(const char *name, const TF_Tensor *tensor, int row) {
  int64_t width = TF_Dim(tensor, 1);
  const float *values = (const float *)TF_TensorData(tensor) + row * width;
  printf(", \"%s\": [", name);
  for (int64_t i = 0; i < width; i++) printf("%s%.9g", i ? ", " : "", values[i]);
  putchar(']');
}

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: %s VERSION_FOLDER IMAGE...\n", argv[0]);
    return 2;
  }
  int count = argc - 2;
  char **paths = argv + 2;
  const char *tag = "serve", *names[] = {"valid", "scores", "probabilities"};
  TF_Status *status = TF_NewStatus();
  TF_Graph *graph = TF_NewGraph();
  TF_Buffer *meta = TF_NewBuffer();
  TF_SessionOptions *options = TF_NewSessionOptions();
  TF_Session *session = TF_LoadSessionFromSavedModel(options, NULL, argv[1], &tag, 1,
                                                     graph, meta, status);
  check(status);
  const uint8_t *start = meta->data;
  Bytes whole = {start, start + meta->length};
  Bytes signature = find_entry(whole, SIGNATURE_DEF, "serving_default");
  TF_Output input = find_tensor(graph, signature, INPUTS, "image_bytes"), outputs[3];
  for (int i = 0; i < 3; i++)
    outputs[i] = find_tensor(graph, signature, OUTPUTS, names[i]);

  TF_Tensor *images = read_images(paths, count), *results[3];
  TF_SessionRun(session, NULL, &input, &images, 1, outputs, results, 3, NULL, 0, NULL,
                status);
  check(status);
  const unsigned char *valid = TF_TensorData(results[0]);
  for (int row = 0; row < count; row++) {
    printf("{\"image\": ");
    print_string(paths[row]);
    printf(", \"valid\": %s", valid[row] ? "true" : "false");
    for (int i = 1; i < 3; i++) print_row(names[i], results[i], row);
    printf("}\n");
  }

  for (int i = 0; i < 3; i++) TF_DeleteTensor(results[i]);
  TF_DeleteTensor(images);
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteSessionOptions(options);
  TF_DeleteBuffer(meta);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  return 0;
}
