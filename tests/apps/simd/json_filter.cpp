// tests/apps/simd/json_filter.cpp: parses JSON on standard input and writes it indented.
#include <rapidjson/document.h>
#include <rapidjson/error/en.h>
#include <rapidjson/prettywriter.h>
#include <rapidjson/stringbuffer.h>

#include "filter.h"

int main() {
    struct bytes input = filter_input();
    rapidjson::Document document;
    document.Parse(reinterpret_cast<const char *>(input.data), input.count);
    if (document.HasParseError())
        filter_fail(rapidjson::GetParseError_En(document.GetParseError()));
    rapidjson::StringBuffer output;
    rapidjson::PrettyWriter<rapidjson::StringBuffer> writer(output);
    document.Accept(writer);
    filter_output(output.GetString(), output.GetSize());
    return 0;
}
