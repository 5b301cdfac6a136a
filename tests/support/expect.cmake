# SPDX-License-Identifier: Apache-2.0
# For tests of something that must be refused. That it failed proves nothing by itself, it may have failed for a reason
# that has nothing to do with the test: the message has to be the expected one, too.
function(expect_failure what result output)
  if(result EQUAL 0)
    message(NOTICE "${output}")
    message(FATAL_ERROR "${what}: was accepted, but should have been refused; its output is above")
  endif()
endfunction()

function(expect_text what output text)
  string(FIND "${output}" "${text}" at)
  if(at EQUAL -1)
    message(NOTICE "${output}")
    message(FATAL_ERROR "${what}: was refused, but not with the text '${text}'; its output is above")
  endif()
endfunction()
