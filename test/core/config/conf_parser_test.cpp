#include "core/config/conf_parser.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include "core/config/temporary_directory.h"

namespace veza {
namespace {

class ConfParserTest : public testing::Test {
 protected:
  // Returns the value that `line` gives to the setting `cluster`, or the error's message.
  std::string Value(const std::string& line) {
    const auto values = ParseConfFile(directory_.Write("test.conf", line));
    if (!values.has_value()) {
      return "ERROR";
    }
    const auto found = values->find("cluster");
    return found == values->end() ? "(unset)" : found->second.text;
  }
  Error ErrorOf(const std::string& text) {
    const auto values = ParseConfFile(directory_.Write("test.conf", text));
    EXPECT_FALSE(values.has_value()) << text;
    return values.has_value() ? Error{} : values.error();
  }

  TemporaryDirectory directory_;
};

TEST_F(ConfParserTest, TheFormsOfALine) {
  EXPECT_EQ(Value("veza_backup.cluster = 'a'\n"), "a");
  EXPECT_EQ(Value("veza_backup.cluster='a'"), "a");
  EXPECT_EQ(Value("veza_backup.cluster 'a'"), "a");
  EXPECT_EQ(Value("veza_backup.cluster a"), "a");
  EXPECT_EQ(Value(" \t veza_backup.cluster\t=\ta-b/c:d \t# comment 'quoted'\r\n"), "a-b/c:d");
  EXPECT_EQ(Value("VEZA_Backup.Cluster = a"), "a");
  EXPECT_EQ(Value("veza_backup.cluster = 5min"), "5min");
  EXPECT_EQ(Value("veza_backup.cluster = -0x1F"), "-0x1F");
  EXPECT_EQ(Value("veza_backup.cluster = +1.5e-3"), "+1.5e-3");
  EXPECT_EQ(Value("veza_backup.cluster = ''"), "");
  EXPECT_EQ(Value("# veza_backup.cluster = a\n\n   \n"), "(unset)");
  EXPECT_EQ(Value(""), "(unset)");
}

TEST_F(ConfParserTest, QuotedStrings) {
  EXPECT_EQ(Value("veza_backup.cluster = 'it''s'"), "it's");
  EXPECT_EQ(Value(R"(veza_backup.cluster = 'it\'s # no comment')"), "it's # no comment");
  EXPECT_EQ(Value(R"(veza_backup.cluster = 'a\\b\n\t\r\b\f\x')"), "a\\b\n\t\r\b\fx");
  EXPECT_EQ(Value(R"(veza_backup.cluster = '\101\7\1014')"), "A\aA4");
  EXPECT_EQ(Value("veza_backup.cluster = ''''"), "'");
  EXPECT_EQ(Value("veza_backup.cluster = '\xc3\xa4'"), "\xc3\xa4");
}

TEST_F(ConfParserTest, SyntaxErrors) {
  for (const char* line :
       {"veza_backup.cluster", "veza_backup.cluster =", "= a", "'veza_backup.cluster' = a",
        "veza_backup.cluster = a b", "veza_backup.cluster == a", "veza_backup.cluster = 'a",
        "veza_backup.cluster = 'a\nb'", "veza_backup.cluster = 'a' 'b'", "veza_backup.cluster = /a",
        "veza_backup.cluster = a.b", "veza_backup.cluster = 1.5GB", "veza_backup.cluster = a,b",
        "veza_backup.cluster = \"a\"", "a.b.c = d", "9lives = 1", "x-y = 1",
        "veza_backup.cluster = 'a\\"}) {
    EXPECT_EQ(Value(line), "ERROR") << line;
  }
}

TEST_F(ConfParserTest, ErrorsNameFileAndLineButNoValue) {
  const Error error = ErrorOf("work_mem = '4MB'\n\nveza_backup.s3_secret_key = hunter2 hunter2\n");
  EXPECT_EQ(error.message, "syntax error in file \"" + directory_.path() + "/test.conf\" line 3");
  const Error unknown = ErrorOf("veza_backup.s3_secretkey = hunter2");
  EXPECT_EQ(unknown.message, "unknown setting \"veza_backup.s3_secretkey\" in file \"" +
                                 directory_.path() + "/test.conf\" line 1");
  EXPECT_EQ(unknown.code, ErrorCode::kInvalidArgument);
}

TEST_F(ConfParserTest, TheFirstUnknownNameIsFound) {
  directory_.Write("more.conf", "Veza_Backup.retention_ful = 3\nveza_backup.other = 1\n");
  const auto find = [&](const std::string& text) {
    return UnknownNameIn(directory_.Write("test.conf", text));
  };
  EXPECT_EQ(find("veza_backup.jobs = 2\nother.name = 1\n").value(), "");
  EXPECT_EQ(find("veza_backup.jobs = 2\ninclude 'more.conf'\n").value(),
            "veza_backup.retention_ful");
  EXPECT_FALSE(find("veza_backup.other = 1\n= 2\n").has_value());
  EXPECT_EQ(UnknownNameIn(directory_.path() + "/absent").error().code, ErrorCode::kNotFound);
}

TEST_F(ConfParserTest, OtherNamesAreIgnoredAndLaterLinesWin) {
  const auto values = ParseConfFile(directory_.Write("test.conf",
                                                     "shared_preload_libraries = 'veza_backup'\n"
                                                     "cluster = 'no'\n"
                                                     "other.cluster = 'no'\n"
                                                     "veza_backup.jobs = 1\n"
                                                     "veza_backup.cluster = 'a'\n"
                                                     "Veza_Backup.JOBS = 2\n"))
                          .value();
  EXPECT_EQ(values.size(), 2U);
  EXPECT_EQ(values.at("jobs").text, "2");
  EXPECT_EQ(values.at("jobs").source, "file \"" + directory_.path() + "/test.conf\" line 6");
}

TEST_F(ConfParserTest, IncludesAreRelativeToTheFile) {
  directory_.Write("sub/second.conf", "veza_backup.cluster = 'second'\ninclude 'third.conf'\n");
  directory_.Write("sub/third.conf", "veza_backup.jobs = 3");
  const std::string main = directory_.Write("main.conf",
                                            "veza_backup.cluster = 'first'\n"
                                            "include_if_exists = 'absent.conf'\n"
                                            "INCLUDE 'sub/second.conf'\n"
                                            "veza_backup.s3_connections = 5\n");
  const auto values = ParseConfFile(main).value();
  EXPECT_EQ(values.at("cluster").text, "second");
  EXPECT_EQ(values.at("jobs").text, "3");
  EXPECT_EQ(values.at("s3_connections").source, "file \"" + main + "\" line 4");
}

TEST_F(ConfParserTest, IncludeDirTakesConfFilesInOrder) {
  directory_.Write("conf.d/10.conf", "veza_backup.cluster = 'ten'");
  directory_.Write("conf.d/20.conf", "veza_backup.cluster = 'twenty'");
  directory_.Write("conf.d/.30.conf", "veza_backup.cluster = 'hidden'");
  directory_.Write("conf.d/40.conf.bak", "veza_backup.cluster = 'backup'");
  directory_.Write("conf.d/50.conf/x", "");
  EXPECT_EQ(Value("include_dir 'conf.d'"), "twenty");
}

TEST_F(ConfParserTest, IncludesThatCannotBeRead) {
  EXPECT_EQ(ErrorOf("include 'absent.conf'").code, ErrorCode::kNotFound);
  EXPECT_EQ(ErrorOf("include_dir 'absent.d'").code, ErrorCode::kNotFound);
  EXPECT_EQ(ErrorOf("include ''").code, ErrorCode::kInvalidArgument);
  const Error loop = ErrorOf("include 'test.conf'");
  EXPECT_NE(loop.message.find("nesting depth"), std::string::npos) << loop.message;
  EXPECT_EQ(ParseConfFile(directory_.path() + "/absent").error().code, ErrorCode::kNotFound);
  EXPECT_FALSE(ParseConfFile(directory_.path()).has_value());
}

TEST_F(ConfParserTest, ListsWhatItIncludes) {
  const std::string top = directory_.Write(
      "main",
      "include = 'a'\nINCLUDE b # and more\ninclude_dir 'd'\ninclude_if_exists 'absent'\n"
      "include\ninclude =\ninclude ''\nwork_mem = = 4MB\ninclude 'directory'\n"
      "# include 'comment'\nshared_buffers = 'include ''no'' '\ninclude 'last'");
  directory_.Write("a", "include 'main'\ninclude 'a'\ninclude 'sub/c'\n");
  for (const char* name : {"b", "last", "comment", "no", "d/1.conf", "d/.hidden.conf", "d/2.old",
                           "directory/x.conf", "sub/c"}) {
    directory_.Write(name, "veza_backup.unknown = 1\n$$$\n");
  }
  std::vector<std::string> names;
  for (const std::string& path : ListConfFiles(top)) {
    names.push_back(path.substr(directory_.path().size() + 1));
  }
  EXPECT_EQ(names, (std::vector<std::string>{"main", "a", "sub/c", "b", "d/1.conf", "last"}));
  EXPECT_TRUE(ListConfFiles(directory_.path() + "/absent").empty());
}

// By the path, another file could be found after it was read.
TEST_F(ConfParserTest, TellsWhoMayWriteTheFileThatWasRead) {
  const std::string included = directory_.Write("included", "veza_backup.cluster = a\n", 0646);
  const std::string top =
      directory_.Write("top", "include 'included'\nveza_backup.jobs = 1\n", 0600);
  SettingValues values = ParseConfFile(top).value();
  EXPECT_EQ(values["cluster"].writers.owner, geteuid());
  EXPECT_TRUE(values["cluster"].writers.others);
  EXPECT_FALSE(values["jobs"].writers.others);
}

}  // namespace
}  // namespace veza
