/*
 * native/callbacks.h: what husk._native has beside the public headers, as cffi reads it: functions
 * of Python that the library calls, and the functions of glue.h.
 */
extern "Python" {
void husk_py_log_line(void *user, enum husk_log_level level, const char *message);
int husk_py_write(void *user, const void *bytes, size_t count);
int husk_py_image_file(void *user, const struct husk_image_file *file);
int64_t husk_py_stream_read(void *user, void *bytes, size_t count);
int64_t husk_py_stream_write(void *user, const void *bytes, size_t count);
void husk_py_progress(void *user, uint32_t done, uint32_t total);
void husk_py_passed_call(void *user);
int husk_py_cache_entry(void *user, const struct husk_cache_entry *entry);
void husk_py_background_job(void *user, const struct husk_background_job *job);
void husk_py_extern(void *user, bool is_import, const struct husk_extern *item);
}

void husk_py_log(void *user, enum husk_log_level level, const char *message);
void husk_py_passed(void *user);
void husk_py_user_free(void *user);
int64_t husk_py_users_alive(void);
void husk_py_count_user(void);
void husk_py_end(void);
void free(void *bytes);
