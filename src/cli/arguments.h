// Declares what may be on the command line. This header is light on purpose: only arguments.cpp
// includes CLI11, the library behind it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/description.h"
#include "core/error.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace veza::cli {

// The hint of every error in the arguments.
inline constexpr const char* kSeeHelp = "See \"vezactl --help\" and \"vezactl COMMAND --help\".";

// A handle of one option. Like every handle below, it is valid as long as its command line.
class Option {
 public:
  explicit Option(CLI::Option* option) : option_(option) {}

  Option& Required();
  Option& Excludes(const Option& other);
  Option& TakesLast();  // the last one counts when it is given more than once
  Option& OneOf(const std::vector<std::string>& words);
  Option& Range(int smallest, int largest);
  // For the help text: the kind of value, and whether its default is shown. Shells complete the
  // names of files for FILE and PATH, those of directories for DIR, and words in small letters
  // (a|b).
  Option& TypeName(const char* name);
  Option& ShowsDefault();

 private:
  CLI::Option* option_;
};

// A handle of the program itself, or of one of its commands. A name that begins with dashes is an
// option; any other name is a positional argument. Parsing writes into `value`, and leaves it alone
// when the option is not given. `value` must live as long as the command line.
class Command {
 public:
  explicit Command(CLI::App* app) : app_(app) {}

  Option Add(const char* name, std::string& value, const char* help);
  Option Add(const char* name, std::optional<std::string>& value, const char* help);
  Option Add(const char* name, int& value, const char* help);
  // May be repeated. Takes one value each time.
  Option Add(const char* name, std::vector<std::string>& values, const char* help);
  Option AddFlag(const char* name, bool& value, const char* help);
  // A number of bytes, with an optional unit (powers of 1024), for example 20MB.
  Option AddSize(const char* name, std::uint64_t& bytes, const char* help);

  // May be repeated. `on_value` is called while parsing, in the order of the arguments. An error of
  // it ends the parsing.
  using OnText = std::function<Status(const std::string&)>;
  using OnNumber = std::function<Status(double)>;
  Option AddEach(const char* name, OnText on_value, const char* help);
  Option AddEach(const char* name, OnNumber on_value, const char* help);

  // Options of which at most one may be given.
  Command AddAlternatives(const char* title, const char* description);

  Command AddCommand(const char* name, const char* description);
  void RequireCommand();
  void Hide();  // removes the command from the help
  void SetFooter(const char* text);

  std::string name() const;
  bool was_given() const;
  // All that is declared so far, below the command and in it.
  CommandDescription Describe() const;

 private:
  CLI::App* app_;
};

class CommandLine {
 public:
  // Accepts at most one command. Options of the program may also follow the command.
  CommandLine(const char* program, const char* version, const char* description);
  ~CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  Command root() const { return Command(app_.get()); }

  // Returns false when nothing is left to do: help or version were asked for, and have been
  // printed. An error is kInvalidArgument.
  Result<bool> Parse(int argc, char** argv);

 private:
  std::unique_ptr<CLI::App> app_;
};

}  // namespace veza::cli
