// A wasi:http service without a library: the imports and the export are declared as the component model's canonical ABI
// lowers them (web.wit says what they mean), and the only memory is an arena that each request starts anew.
//
// It answers every request with `hello from POD_NAME, you asked for PATH`.
#include <stdint.h>

#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name)))

typedef struct { const uint8_t *at; uint32_t length; } bytes;
typedef struct { uint8_t some; bytes value; } optional_bytes;       // option<string>
typedef struct { bytes name, value; } variable;                     // tuple<string, string>
typedef struct { variable *at; uint32_t length; } variables;        // list<tuple<string, string>>
typedef struct { uint8_t failed; int32_t value; } handle_result;    // result<own<T>>
typedef struct { uint64_t room[8]; } any_result;                    // a result whose error nobody reads

#define CLI "wasi:cli/environment@0.2.0"
#define HTTP "wasi:http/types@0.2.0"
#define STREAMS "wasi:io/streams@0.2.0"

IMPORT(CLI, "get-environment") void get_environment(variables *out);
IMPORT(HTTP, "[method]incoming-request.path-with-query") void request_path(int32_t request, optional_bytes *out);
IMPORT(HTTP, "[resource-drop]incoming-request") void request_drop(int32_t request);
IMPORT(HTTP, "[constructor]fields") int32_t fields_new(void);
IMPORT(HTTP, "[method]fields.append")
void fields_append(int32_t fields, const char *name, uint32_t name_length, const char *value, uint32_t value_length, any_result *out);
IMPORT(HTTP, "[constructor]outgoing-response") int32_t response_new(int32_t headers);
IMPORT(HTTP, "[method]outgoing-response.body") void response_body(int32_t response, handle_result *out);
IMPORT(HTTP, "[static]response-outparam.set")
void outparam_set(int32_t outparam, int32_t failed, int32_t response_or_code, int32_t, int64_t, int32_t, int32_t, int32_t, int32_t);
IMPORT(HTTP, "[method]outgoing-body.write") void body_write(int32_t body, handle_result *out);
IMPORT(HTTP, "[static]outgoing-body.finish") void body_finish(int32_t body, int32_t has_trailers, int32_t trailers, any_result *out);
IMPORT(STREAMS, "[method]output-stream.blocking-write-and-flush")
void stream_write(int32_t stream, const uint8_t *at, uint32_t length, any_result *out);
IMPORT(STREAMS, "[resource-drop]output-stream") void stream_drop(int32_t stream);

// Where the host puts the strings that it hands over. A request that needs more than the arena traps, and that request alone fails.
static uint8_t arena[64 * 1024] __attribute__((aligned(16)));
static uint32_t arena_used;

EXPORT("cabi_realloc") void *cabi_realloc(void *old, uint32_t old_size, uint32_t align, uint32_t size) {
  (void)old, (void)old_size;
  uint32_t start = (arena_used + align - 1) & ~(align - 1);
  if (start > sizeof arena || size > sizeof arena - start) __builtin_trap();
  arena_used = start + size;
  return arena + start;
}

// One write of a stream may be 4,096 bytes long.
static uint8_t answer[4096];
static uint32_t answer_length;

static void say(bytes words) {
  for (uint32_t i = 0; i < words.length && answer_length < sizeof answer; i++) answer[answer_length++] = words.at[i];
}

#define SAY(words) say((bytes){(const uint8_t *)words, sizeof words - 1})

static int is(bytes name, const char *wanted) {
  uint32_t i = 0;
  while (i < name.length && wanted[i] && name.at[i] == (uint8_t)wanted[i]) i++;
  return i == name.length && !wanted[i];
}

static void compose(int32_t request) {
  variables environment;
  get_environment(&environment);
  optional_bytes path;
  request_path(request, &path);

  answer_length = 0;
  SAY("hello from ");
  for (uint32_t i = 0; i < environment.length; i++)
    if (is(environment.at[i].name, "POD_NAME")) say(environment.at[i].value);
  SAY(", you asked for ");
  if (path.some) say(path.value);
  SAY("\n");
}

EXPORT("wasi:http/incoming-handler@0.2.0#handle") void handle(int32_t request, int32_t outparam) {
  arena_used = 0;
  compose(request);
  request_drop(request);

  any_result ignored;
  int32_t headers = fields_new();
  fields_append(headers, "content-type", 12, "text/plain; charset=utf-8", 25, &ignored);
  int32_t response = response_new(headers);
  handle_result body, stream;
  response_body(response, &body);
  outparam_set(outparam, 0, response, 0, 0, 0, 0, 0, 0);
  body_write(body.value, &stream);
  stream_write(stream.value, answer, answer_length, &ignored);
  stream_drop(stream.value);
  body_finish(body.value, 0, 0, &ignored);
}
