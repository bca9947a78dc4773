// SPDX-License-Identifier: MIT
pragma solidity ^0.8.34;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Memo} from "../interfaces/IERC20Memo.sol";
import {TokenTest} from "../testing/TokenTest.t.sol";

contract ERC20MemoTest is TokenTest {
    function testFuzzTransfersAndSaysWhatFor(uint256 balance, uint256 amount, bytes32 memo) public {
        balance = _bound(balance, 0, LIMIT);
        amount = _bound(amount, 0, balance);
        _mint(alice, balance);

        vm.expectEmit(address(token));
        emit IERC20.Transfer(alice, bob, amount);
        vm.expectEmit(address(token));
        emit IERC20Memo.TransferWithMemo(alice, bob, amount, memo, token.sequence() + 1);
        vm.prank(alice);
        vm.assertTrue(token.transferWithMemo(bob, amount, memo), "did not return true");

        vm.assertEq(token.balanceOf(alice), balance - amount, "sender's balance");
        vm.assertEq(token.balanceOf(bob), amount, "recipient's balance");
    }

    function testFuzzMoreThanTheBalanceReverts(uint256 balance, uint256 amount) public {
        balance = _bound(balance, 0, LIMIT);
        amount = _bound(amount, balance + 1, type(uint256).max);
        _mint(alice, balance);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, alice, balance, amount));
        vm.prank(alice);
        token.transferWithMemo(bob, amount, "too much");
    }
}
