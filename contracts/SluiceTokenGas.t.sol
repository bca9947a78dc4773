// SPDX-License-Identifier: MIT
pragma solidity ^0.8.34;

import {PlainToken} from "./testing/PlainToken.t.sol";
import {TokenTest} from "./testing/TokenTest.t.sol";

/**
 * @dev The gas of each call as it usually happens: who sends has tokens already, who receives has some too unless the
 * name says "new". Each is a transaction of its own: the 21,000 and the calldata are included, refunds are taken off.
 */
contract SluiceTokenGasTest is TokenTest {
    PlainToken private _plain;

    function setUp() public override {
        super.setUp();
        _plain = new PlainToken();
        _mint(alice, 1_000 ether);
        _mint(bob, 1_000 ether);
        _plain.mint(alice, 1_000 ether);
        _plain.mint(bob, 1_000 ether);
        // Later calls find the period of the minter's limit begun and the counters above zero, as they usually are.
        _mine(bob);
    }

    function testGasOfTransfer() public {
        vm.prank(alice);
        token.transfer(bob, 1 ether);
        vm.snapshotGasLastCall("SluiceToken", "transfer");
        vm.prank(alice);
        _plain.transfer(bob, 1 ether);
        vm.snapshotGasLastCall("ERC20", "transfer");
    }

    function testGasOfTransferToSomebodyNew() public {
        vm.prank(alice);
        token.transfer(carol, 1 ether);
        vm.snapshotGasLastCall("SluiceToken", "transfer, new");
        vm.prank(alice);
        _plain.transfer(carol, 1 ether);
        vm.snapshotGasLastCall("ERC20", "transfer, new");
    }

    function testGasOfTransferWithMemo() public {
        vm.prank(alice);
        token.transferWithMemo(bob, 1 ether, "invoice");
        vm.snapshotGasLastCall("SluiceToken", "transferWithMemo");
    }

    function testGasOfApproveAndTransferFrom() public {
        vm.prank(alice);
        token.approve(carol, 10 ether);
        vm.snapshotGasLastCall("SluiceToken", "approve");
        vm.prank(carol);
        token.transferFrom(alice, bob, 1 ether);
        vm.snapshotGasLastCall("SluiceToken", "transferFrom");
        vm.prank(alice);
        _plain.approve(carol, 10 ether);
        vm.snapshotGasLastCall("ERC20", "approve");
        vm.prank(carol);
        _plain.transferFrom(alice, bob, 1 ether);
        vm.snapshotGasLastCall("ERC20", "transferFrom");
    }

    function testGasOfPermit() public {
        (uint8 v, bytes32 r, bytes32 s) = _signPermit(ALICE_KEY, carol, 1 ether, block.timestamp);
        token.permit(alice, carol, 1 ether, block.timestamp, v, r, s);
        vm.snapshotGasLastCall("SluiceToken", "permit");
    }

    function testGasOfMint() public {
        _mint(alice, 1 ether);
        vm.snapshotGasLastCall("SluiceToken", "mint");
        _plain.mint(alice, 1 ether);
        vm.snapshotGasLastCall("ERC20", "mint");
    }

    function testGasOfBatches() public {
        _mintBatch(0, 1);
        vm.snapshotGasLastCall("SluiceToken", "mintBatch, 1 new");
        _mintBatch(1_000, 10);
        vm.snapshotGasLastCall("SluiceToken", "mintBatch, 10 new");
        _mintBatch(2_000, 200);
        vm.snapshotGasLastCall("SluiceToken", "mintBatch, 200 new");
    }

    function _mintBatch(uint160 first, uint256 size) private {
        address[] memory recipients = new address[](size);
        uint256[] memory amounts = new uint256[](size);
        for (uint160 i = 0; i < size; ++i) (recipients[i], amounts[i]) = (address((first + i + 1) << 40), 1 ether);
        vm.prank(minter);
        token.mintBatch(recipients, amounts, REASON);
    }

    function testGasOfMine() public {
        uint256 nonce = _solve(token, bob, 0);
        token.mine(bob, nonce);
        vm.snapshotGasLastCall("SluiceToken", "mine");
        nonce = _solve(token, bob, 0);
        token.mine(bob, nonce);
        vm.snapshotGasLastCall("SluiceToken", "mine, with a retarget");
    }

    function testGasOfRegister() public {
        vm.prank(carol);
        token.register("carol");
        vm.snapshotGasLastCall("SluiceToken", "register, new");
    }

    function testGasOfRegisterFor() public {
        bytes memory signature = _signRegistration(ALICE_KEY, alice, "alice", 0, block.timestamp);
        token.registerFor(alice, "alice", block.timestamp, signature);
        vm.snapshotGasLastCall("SluiceToken", "registerFor");
    }

    function testGasOfPauseAndUnpause() public {
        _pause();
        vm.snapshotGasLastCall("SluiceToken", "pause");
        _unpause();
        vm.snapshotGasLastCall("SluiceToken", "unpause");
    }
}
