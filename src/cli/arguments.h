// What may be on the command line. This header is light on purpose: CLI11, the library behind it,
// is included by arguments.cpp alone.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace veza::cli {

// The hint of every error in arguments.
inline constexpr const char* kSeeHelp = "See \"vezactl --help\" and \"vezactl COMMAND --help\".";

// One option. Lives as long as its command line, as every handle below does.
class Option {
 public:
  explicit Option(CLI::Option* option) : option_(option) {}

  Option& Required();
  Option& Excludes(const Option& other);
  Option& TakesLast();  // when it is given more than once
  Option& OneOf(const std::vector<std::string>& words);
  Option& Range(int smallest, int largest);
  // For the help: what the value is, and that its default is shown.
  Option& TypeName(const char* name);
  Option& ShowsDefault();

 private:
  CLI::Option* option_;
};

// The program itself, or one of its commands. A name that begins with dashes is an option's; any
// other is that of an argument known by its place. `value` takes what was given; it is not touched
// when nothing was, and must live as long as the command line.
class Command {
 public:
  explicit Command(CLI::App* app) : app_(app) {}

  Option Add(const char* name, std::string& value, const char* help);
  Option Add(const char* name, std::optional<std::string>& value, const char* help);
  Option Add(const char* name, int& value, const char* help);
  // May be repeated; each time it takes one value.
  Option Add(const char* name, std::vector<std::string>& values, const char* help);
  Option AddFlag(const char* name, bool& value, const char* help);
  // A number of bytes, with or without a unit of 1024 or 1000: 20MB.
  Option AddSize(const char* name, std::uint64_t& bytes, const char* help);

  // May be repeated. Calls at once, in the order of the arguments; an error ends the parsing.
  using OnText = std::function<Status(const std::string&)>;
  using OnNumber = std::function<Status(double)>;
  Option AddEach(const char* name, OnText on_value, const char* help);
  Option AddEach(const char* name, OnNumber on_value, const char* help);

  // Options of which at most one may be given.
  Command AddAlternatives(const char* title, const char* description);

  Command AddCommand(const char* name, const char* description);
  void RequireCommand();
  void Hide();  // from the help
  void SetFooter(const char* text);

  std::string name() const;
  bool was_given() const;

 private:
  CLI::App* app_;
};

class CommandLine {
 public:
  // At most one command is given. Options of the program may also follow the command.
  CommandLine(const char* program, const char* version, const char* description);
  ~CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  Command root() const { return Command(app_.get()); }

  // False when there is nothing left to do: help or version were asked for, and printed. An error
  // is kInvalidArgument.
  Result<bool> Parse(int argc, char** argv);

 private:
  std::unique_ptr<CLI::App> app_;
};

}  // namespace veza::cli
